//! `loomd answer`: what an agent asks, and the answer.

use serde_json::{Value, json};

use super::{
    Stop,
    agent::{
        keyboard::{Key, Keyboard},
        question::Question,
    },
    client::{Launch, Session},
    keys::{Keys, Wish},
    render::{self, Ink},
    words,
};
use crate::model::{Failure, Run, entry::PermissionStatus};

/// Answer an agent's question; without an answer, show it and ask
#[derive(clap::Args, Debug)]
pub struct Options {
    /// The run
    pub run: String,
    /// One of the options: its id, its name, its kind (`allow-once`) or its key
    pub option: Option<String>,
    /// Which question, where there are several [default: the oldest]
    #[arg(long, value_name = "ID")]
    pub question: Option<String>,
    /// What to tell the agent beside it
    #[arg(long, short, value_name = "TEXT", requires = "option")]
    pub message: Option<String>,
    /// Choose nothing, so that nothing is allowed
    #[arg(long, conflicts_with = "option")]
    pub dismiss: bool,
    /// Print the open questions as lines of JSON
    #[arg(long, conflicts_with_all = ["option", "dismiss"])]
    pub json: bool,
}

pub async fn main(options: Options, launch: &Launch) -> Result<u8, Stop> {
    let launch = &launch.asking(options.option.is_none());
    let session = launch.open_quiet().await?;
    let run = session.run(session.run_id(&options.run).await?).await?;
    if options.json {
        run.permissions.iter().try_for_each(render::print_json)?;
        session.close().await;
        return Ok(0);
    }
    let question = question(&run, options.question.as_deref())?;
    let answer = match &options.option {
        Some(word) => Some(json!({ "optionId": question.option_named(word)?.option_id, "message": options.message })),
        None if options.dismiss => Some(json!({ "cancelled": true })),
        None => ask(launch, &run, &question).await?,
    };
    let code = match answer {
        Some(answer) => {
            send(&session, &run, &question, answer).await?;
            0
        }
        // It is still open.
        None => 1,
    };
    session.close().await;
    Ok(code)
}

/// An open question of the run.
fn question(run: &Run, id: Option<&str>) -> Result<Question, Failure> {
    let short = words::short(run.id);
    let mut open = run.permissions.iter().filter_map(|entry| match &entry.status {
        PermissionStatus::Requested { tool_call, options } => {
            Some(Question { id: entry.permission_id.clone(), tool_call: tool_call.clone(), options: options.clone() })
        }
        PermissionStatus::Resolved { .. } => None,
    });
    let found = match id {
        Some(id) => open.find(|question| question.id == id),
        None => open.next(),
    };
    found.ok_or_else(|| {
        let which = id.map_or_else(|| "no question".to_owned(), |id| format!("no question `{}`", words::plain(id)));
        Failure::invalid_params("permissionId", format!("run {short} has {which} that waits for an answer"))
    })
}

async fn send(session: &Session, run: &Run, question: &Question, answer: Value) -> Result<(), Failure> {
    let mut params = json!({ "runId": run.id, "permissionId": question.id });
    let (Value::Object(params), Value::Object(answer)) = (&mut params, answer) else { return Ok(()) };
    params.extend(answer.into_iter().filter(|(_, value)| !value.is_null()));
    session.call::<_, Value>("run/answer", params).await.map(drop)
}

/// Shows a question and waits for a key, or says how it is answered.
async fn ask(launch: &Launch, run: &Run, question: &Question) -> Result<Option<Value>, Stop> {
    let ink = Ink::of_stdout();
    render::print(&question.whole(&run.cwd, ink))?;
    let keyboard = if launch.can_answer { Keyboard::open().filter(Keyboard::is_ours) } else { None };
    let Some(mut keyboard) = keyboard else {
        let id = words::short(run.id);
        let mut lines = format!("answer with `{} answer {id} OPTION`, where OPTION is one of\n", launch.again());
        for option in &question.options {
            lines.push_str(&format!("  {:<16}  {}\n", words::quoted(&words::plain(&option.option_id)), words::plain(&option.name)));
        }
        render::print(&lines)?;
        return Ok(None);
    };
    let mut keys = Keys::listen()?;
    // Before anything is shown: a key that is pressed then is an answer.
    keyboard.take_keys();
    let columns = render::columns().unwrap_or(80);
    render::print(&format!("{}\n{}\n", question.menu(ink, columns - 1).join("\n"), ink.dim("press a key; Esc leaves it open")))?;
    loop {
        tokio::select! {
            wish = keys.next() => return Ok(match wish {
                Wish::Interrupt | Wish::Cancel | Wish::Kill | Wish::Leave | Wish::Terminate | Wish::HangUp => None,
            }),
            piece = keyboard.read() => match Key::of(&piece?) {
                Key::Escape => return Ok(None),
                Key::Other => {}
                Key::Char(key) => if let Some(option) = question.option_of(key) {
                    render::print(&format!("{}\n", words::plain(&option.name)))?;
                    return Ok(Some(json!({ "optionId": option.option_id })));
                },
            },
        }
    }
}
