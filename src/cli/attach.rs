//! `loomd attach`: shows a run live again, with the keys and the exit code of `loomd run`.

use super::{
    EarlyExit,
    agent::{
        self,
        interactive::{self, Interactive, ViewOptions},
        renderer::Renderer,
    },
    format,
    input::Keys,
    live::Watch,
    notification_printer::LiveView,
    outcome::RunOutcome,
    render,
    tail::{self, TailPosition},
};
use crate::{
    client::{ServerLaunch, ServerSession},
    model::{
        Run,
        calls::{AttachParams, RunResult},
        methods::RunAttach,
    },
    rpc::Notifications,
};

/// How many lines of earlier output are shown by default.
const DEFAULT_TAIL_LINES: u64 = 10;

/// Attach to a run: show its output live, use its keys, return its exit code
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Run ID or its last digits [default: the newest run]
    pub(crate) run: Option<String>,
    /// Show all output from the start
    #[arg(long, conflicts_with = "tail")]
    pub(crate) from_start: bool,
    /// Show this many lines of earlier output
    #[arg(long, short = 'n', value_name = "LINES", default_value_t = DEFAULT_TAIL_LINES, value_parser = format::parse_count)]
    pub(crate) tail: u64,
    /// Send typed lines to the program
    #[arg(long, short)]
    pub(crate) interactive: bool,
    /// Print entries as JSON lines, followed by the run itself
    #[arg(long)]
    pub(crate) json: bool,
    /// Print only the program's output, or the agent's messages
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// For agents: print the agent's raw output instead of the transcript
    #[arg(long)]
    pub(crate) raw: bool,
    /// For agents: show all tool output and full diffs
    #[arg(long)]
    pub(crate) full: bool,
}

pub(crate) async fn main(options: Options, launch: &ServerLaunch) -> Result<u8, EarlyExit> {
    let launch = &launch.for_interactive_use(!options.json && !options.raw);
    let (session, notifications) = launch.open().await?;
    let run = session.run(session.run_id_or_newest(options.run.as_deref()).await?).await?;
    let is_agent = run.has_transcript;
    if is_agent && !options.raw && !options.json {
        return attach_agent(&options, launch, run, (session, notifications)).await;
    }
    let position = match options.from_start {
        true => TailPosition::default(),
        false => tail::find_tail(&session, &run, None, options.tail).await?,
    };
    if render::stderr_is_terminal() && !options.quiet {
        let (id, command) = (launch.shown_id(run.id), format::command_line(&run.command));
        let keys = if run.state.is_final() { "" } else { r" (Ctrl-\ to detach)" };
        render::note(&format!("Run {id}: {command}{keys}"));
    }
    if run.state.is_final() && position.after_seq >= run.last_seq {
        // The run has ended and no output remains to be printed.
        if options.json {
            render::print_json_of(launch.host(), &run)?;
        }
        drop(notifications);
        session.close().await;
        let outcome = RunOutcome::from(&run);
        return Ok(if is_agent { outcome.agent_code() } else { outcome.code() });
    }
    let keys = Keys::listen()?;
    let RunResult { run } = session.call(RunAttach, AttachParams::entries(run.id, position.after_seq)).await?;
    let view = LiveView {
        json: options.json,
        ends_with_run: true,
        quiet: options.quiet,
        interactive: options.interactive,
        is_agent,
        raw: options.raw,
        ..LiveView::default()
    };
    Watch::new(launch, view, run, position, session, notifications).show_to_end(Some(keys)).await
}

/// Renders the transcript so far and follows it.
async fn attach_agent(
    options: &Options,
    launch: &ServerLaunch,
    run: Run,
    (session, notifications): (ServerSession, Notifications),
) -> Result<u8, EarlyExit> {
    let is_open = run.params.get("interactive").is_some_and(|interactive| interactive == true);
    let view = ViewOptions {
        full: options.full,
        quiet: options.quiet,
        interactive: options.interactive || (is_open && launch.can_answer),
        view_only: false,
    };
    if render::stderr_is_terminal() && !options.quiet {
        let keys = if run.state.is_final() { "" } else { r" (Ctrl-\ to detach)" };
        let title = run.title.clone().or_else(|| agent::first_prompt_line(&run)).unwrap_or_default();
        render::note(&format!("Run {}: {}: {}{keys}", launch.shown_id(run.id), run.provider, format::plain(&title)));
    }
    let mut renderer = Renderer::new(interactive::render_options(view), &run.cwd);
    let (text, after_seq) = if options.from_start {
        let after_seq = agent::render_history(&session, &run, &mut renderer, async |text| render::print(&text)).await?;
        (String::new(), after_seq)
    } else {
        agent::render_tail(&session, &run, &mut renderer, options.tail).await?
    };
    render::print(&text)?;
    if run.state.is_final() {
        renderer.finish();
        render::print(&renderer.take())?;
        drop(notifications);
        let outcome = RunOutcome::from(&run);
        if !options.quiet {
            render::note(&format!("Run {} {}", launch.shown_id(run.id), outcome.description()));
        }
        session.close().await;
        return Ok(outcome.agent_code());
    }
    let keys = Keys::listen()?;
    let RunResult { run } = session.call(RunAttach, AttachParams::items(run.id, after_seq)).await?;
    Interactive::new(launch, view, run, (session, notifications), renderer, after_seq).show_to_end(Some(keys)).await
}
