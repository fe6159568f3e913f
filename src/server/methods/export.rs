//! `run/export`.

use std::{
    io::{self, Write},
    sync::Arc,
};

use tokio_util::sync::CancellationToken;

use super::{Request, large, on_a_thread};
use crate::{
    export::{self, Trouble, file::Place},
    history::History,
    model::{
        Failure,
        calls::{ExportFormat, ExportParams, ExportResult},
    },
};

/// Most bytes of content in an answer.
const INLINE: usize = 32 << 20;

pub async fn export(params: ExportParams, request: Request) -> Result<ExportResult, Failure> {
    // Whoever gives a request up drops it here, and the thread hears of it.
    let cancel = request.call.cancel.clone();
    let given_up = CancellationToken::new();
    let _guard = given_up.clone().drop_guard();
    let is_cancelled = move || cancel.is_cancelled() || given_up.is_cancelled();
    match params.path.clone() {
        Some(path) => {
            let server = Arc::clone(&request.server);
            // It may take long, and must not hold up what is answered in a moment.
            let _turn = server.exports.acquire().await;
            let data_dir = server.data_dir.clone();
            on_a_thread(&server, move |history| {
                let run = history.known_run(params.run_id)?;
                let place = Place::find(&path, &data_dir)?;
                let written = place.write(|out| export::write(history, &run, params.format, out, &is_cancelled));
                written.map_err(|trouble| told(trouble, |error| place.failure(error)))?;
                Ok(ExportResult { path: Some(path), content: None })
            })
            .await
        }
        None => large(&request, move |history| inline(history, &params, &is_cancelled)).await,
    }
}

fn inline(history: &History, params: &ExportParams, is_cancelled: &dyn Fn() -> bool) -> Result<ExportResult, Failure> {
    let run = history.known_run(params.run_id)?;
    let too_long = || {
        Failure::limit(
            INLINE as u64,
            format!("the run is too long to be answered as {}: give a `path`, and it is written there", params.format.as_str()),
        )
    };
    if matches!(params.format, ExportFormat::Text) && run.bytes.total() > INLINE as u64 {
        return Err(too_long());
    }
    let mut content = Content(Vec::new());
    let written = export::write(history, &run, params.format, &mut content, is_cancelled);
    written
        .map_err(|trouble| told(trouble, |error| if content_is_full(error) { too_long() } else { Failure::internal(error.to_string()) }))?;
    let content = String::from_utf8(content.0).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    Ok(ExportResult { path: None, content: Some(content) })
}

fn told(trouble: Trouble, of_writing: impl FnOnce(&io::Error) -> Failure) -> Failure {
    match trouble {
        Trouble::Write(error) => of_writing(&error),
        Trouble::Read(failure) => failure,
        Trouble::Cancelled => Failure::cancelled(),
    }
}

fn content_is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::FileTooLarge
}

/// Content on its way into an answer.
struct Content(Vec<u8>);

impl Write for Content {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > INLINE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
