//! `loomd delete`: forgets runs that have ended.

use super::{Stop, client::Launch, render, words};
use crate::model::calls::{DeleteResult, RunIdParams};

/// Delete runs that have ended, with all that is kept of them
#[derive(clap::Args, Debug)]
pub struct Options {
    /// The runs
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<String>,
}

pub async fn main(options: Options, launch: &Launch) -> Result<u8, Stop> {
    let session = launch.open_quiet().await?;
    let mut code = 0;
    for text in &options.runs {
        let delete = async {
            let run_id = session.run_id(text).await?;
            let DeleteResult { freed_bytes } = session.call("run/delete", RunIdParams { run_id }).await?;
            Ok(format!("{} deleted, {} freed\n", words::short(run_id), words::bytes(freed_bytes)))
        };
        match delete.await {
            Ok(line) => render::print(&line)?,
            Err(failure) => {
                render::tell_failure(&failure);
                code = 1;
            }
        }
    }
    session.close().await;
    Ok(code)
}
