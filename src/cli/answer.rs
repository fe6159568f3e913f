//! `loomd answer`: shows a permission request and answers it.

use super::{
    EarlyExit,
    agent::{
        self,
        interactive::{KEY_GUARD, MENU_LINES},
        keyboard::{Key, Keyboard},
        permission_prompt::{ANSWER_HINT, MORE_HINT, PermissionPrompt},
    },
    format,
    input::Keys,
    render::{self, Styles},
};
use crate::{
    client::{ServerLaunch, ServerSession},
    model::{Failure, Run, calls::AnswerParams, item::ItemKind, methods::RunAnswer},
};

/// Answer an agent's permission request, or show it and prompt for an answer
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Run ID or its last digits
    pub(crate) run: String,
    /// Option to choose: its ID, name, kind (e.g. `allow-once`) or key
    pub(crate) option: Option<String>,
    /// Which permission request, if there are several [default: the oldest]
    #[arg(long = "question", value_name = "ID")]
    pub(crate) request: Option<String>,
    /// Message to the agent, sent with the answer
    #[arg(long, short, value_name = "TEXT", requires = "option")]
    pub(crate) message: Option<String>,
    /// Dismiss the request without choosing an option; nothing is allowed
    #[arg(long, conflicts_with = "option")]
    pub(crate) dismiss: bool,
    /// Print the pending requests as JSON lines
    #[arg(long, conflicts_with_all = ["option", "dismiss"])]
    pub(crate) json: bool,
}

pub(crate) async fn main(options: Options, launch: &ServerLaunch) -> Result<u8, EarlyExit> {
    let launch = &launch.for_interactive_use(options.option.is_none());
    let session = launch.open_without_notifications().await?;
    let run = session.run(session.run_id(&options.run).await?).await?;
    if options.json {
        run.permissions.iter().try_for_each(render::print_json)?;
        session.close().await;
        return Ok(0);
    }
    let mut request = pending_request(launch, &session, &run, options.request.as_deref()).await?;
    let answer = match &options.option {
        Some(name) => {
            let option = &request.find_option(name)?.option_id;
            Some(AnswerParams { message: options.message, ..AnswerParams::option(run.id, request.id(), option) })
        }
        None if options.dismiss => {
            let permission_id = request.id().to_owned();
            Some(AnswerParams { run_id: run.id, permission_id, option_id: None, cancelled: Some(true), message: None })
        }
        None => prompt(launch, &run, &mut request).await?,
    };
    let code = match answer {
        Some(answer) => {
            session.call(RunAnswer, answer).await?;
            0
        }
        // The request is still pending.
        None => 1,
    };
    session.close().await;
    Ok(code)
}

/// A pending permission request of the run: the one with this ID, or the oldest.
async fn pending_request(launch: &ServerLaunch, session: &ServerSession, run: &Run, id: Option<&str>) -> Result<PermissionPrompt, Failure> {
    let wanted = run.permissions.iter().map(|entry| &entry.permission_id).find(|pending| id.is_none_or(|id| id == *pending));
    let Some(wanted) = wanted else {
        let which = id.map_or_else(String::new, |id| format!(" `{}`", format::plain(id)));
        let message = format!("run {} has no pending permission request{which}", launch.shown_id(run.id));
        return Err(Failure::invalid_params("permissionId", message));
    };
    let mut before = None;
    loop {
        let page = agent::items(session, run.id, None, before).await?;
        for item in page.items.into_iter().rev() {
            match item.kind {
                ItemKind::Permission(permission) if permission.permission_id == *wanted => return Ok(PermissionPrompt::new(*permission)),
                _ => {}
            }
        }
        let none = || Failure::internal(format!("the transcript has no permission request {wanted}"));
        before = Some(page.prev.ok_or_else(none)?);
    }
}

/// Shows a permission request and waits for a key, or prints how to answer it. `None`: it was not answered.
async fn prompt(launch: &ServerLaunch, run: &Run, request: &mut PermissionPrompt) -> Result<Option<AnswerParams>, EarlyExit> {
    let styles = Styles::of_stdout();
    let keyboard = if launch.can_answer { Keyboard::open().filter(Keyboard::is_ours) } else { None };
    let Some(mut keyboard) = keyboard else {
        let id = launch.shown_id(run.id);
        let mut lines = request.next_lines(usize::MAX, &run.cwd, styles, None);
        lines.push_str(&format!("Answer with `{} answer {id} OPTION`. Options:\n", launch.command_prefix()));
        for option in request.options() {
            lines.push_str(&format!("  {:<16}  {}\n", format::quoted(&format::plain(&option.option_id)), format::plain(&option.name)));
        }
        render::print(&lines)?;
        return Ok(None);
    };
    let mut keys = Keys::listen()?;
    keyboard.enter_key_mode();
    let columns = render::columns().unwrap_or(80);
    loop {
        let text = request.next_lines(render::rows().saturating_sub(MENU_LINES), &run.cwd, styles, Some(columns));
        let menu = if request.is_whole() {
            format!("{}\n{}\n", request.menu(styles, columns - 1).join("\n"), styles.dim(ANSWER_HINT))
        } else {
            styles.dim(MORE_HINT) + "\n"
        };
        render::print(&(text + &menu))?;
        tokio::select! {
            // Every signal leaves the request pending.
            _ = keys.next() => return Ok(None),
            () = tokio::time::sleep(KEY_GUARD) => keyboard.drop_input(),
        }
        loop {
            tokio::select! {
                _ = keys.next() => return Ok(None),
                bytes = keyboard.read() => match Key::of(&bytes?) {
                    Key::Escape => return Ok(None),
                    Key::Char(' ' | '\n' | '\r') if !request.is_whole() => break,
                    Key::Char(key) if request.is_whole() => if let Some(option) = request.option_for_key(key) {
                        render::print(&format!("{}\n", format::plain(&option.name)))?;
                        return Ok(Some(AnswerParams::option(run.id, request.id(), &option.option_id)));
                    },
                    _ => {}
                },
            }
        }
    }
}
