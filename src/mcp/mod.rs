//! `loomd mcp`: the runs as tools and resources of the Model Context Protocol (MCP), on stdio, so that an agent can look
//! into what was done before.
//!
//! The front end is a client of loomd's own protocol, as the command line is. It reads; only with `--may-start` it starts,
//! steers and cancels runs. The run that it stands in is not shown to it. `docs/architecture.md` says why the frames are
//! those of `rpc/` and not of an SDK.

mod answer;
mod finding;
mod front_end;
mod items;
mod reading;
mod search;
mod service;
mod steering;
mod tools;

use self::{front_end::McpFrontEnd, service::McpService};
use crate::{
    client::ServerLaunch,
    model::Failure,
    process::current_process,
    rpc::{ConnectionEnd, FrameCodec, Framing, Outgoing, connection, frame::DEFAULT_MAX_FRAME_BYTES, stdio},
};

/// Offer the runs to an agent as an MCP server: search and read them
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct Options {
    /// Offer the runs of all directories [default: those of this one and below; with --host all]
    #[arg(long)]
    pub(crate) all: bool,
    /// Offer tools that start commands, cancel runs and send text to them
    #[arg(long)]
    pub(crate) may_start: bool,
}

/// Serves one MCP client on stdin and stdout until it leaves.
pub(crate) async fn main(options: Options, launch: &ServerLaunch) -> Result<u8, Failure> {
    current_process::limit_allocator_caches();
    let cannot = |error| Failure::internal(format!("cannot use stdin and stdout: {error}"));
    let (input, output) = stdio::open().map_err(cannot)?;
    let out = Outgoing::new(output);
    let front_end = McpFrontEnd::new(&options, launch.clone()).map_err(|error| Failure::internal(error.to_string()))?;
    let codec = FrameCodec::new(Some(Framing::Ndjson), DEFAULT_MAX_FRAME_BYTES);
    let end = tokio::select! {
        end = connection::serve(input, codec, McpService::new(front_end), out.clone()) => end,
        () = current_process::termination_signal() => ConnectionEnd::Gone,
    };
    tokio::time::timeout(service::LAST_ANSWER_TIMEOUT, out.drained()).await.ok();
    Ok(u8::from(end == ConnectionEnd::Broken))
}
