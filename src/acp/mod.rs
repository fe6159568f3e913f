//! `loomd acp`: loomd as an agent of the Agent Client Protocol (ACP), version 1, on stdio.
//!
//! The front end is a client of loomd's own protocol, as the command line is: it starts a server as its child and holds
//! nothing that matters. A session of the ACP client is a run and the runs that resumed it. The end of the client's
//! input, a signal and a kill detach; only `session/cancel` stops a turn. `docs/architecture.md` says why the frames are
//! those of `rpc/` and not of an SDK.

mod chain;
mod commands;
mod front_end;
mod listing;
mod offer;
mod prompt_queue;
mod prompts;
mod questions;
mod replay;
mod service;
mod session;
mod translator;
mod wire;

use std::time::Duration;

use self::{front_end::FrontEnd, service::AcpService};
use crate::{
    client::ServerLaunch,
    model::Failure,
    process::current_process,
    rpc::{ConnectionEnd, FrameCodec, Framing, Outgoing, connection, frame::DEFAULT_MAX_FRAME_BYTES, stdio},
};

/// How long the last answers may take to reach a client that has closed the connection, and unused runs to be removed.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// Be an agent for an editor that speaks the Agent Client Protocol (ACP)
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct Options {
    /// Agent of new sessions [default: the first one that is installed]
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// Offer a login method, which the registry of ACP agents demands
    #[arg(long)]
    registry: bool,
    /// Command line of an ACP agent; with --provider, extra arguments for it
    #[arg(last = true, value_name = "ARGV")]
    agent: Vec<String>,
}

/// Serves one ACP client on stdin and stdout until it leaves.
pub(crate) async fn main(options: Options, launch: &ServerLaunch) -> Result<u8, Failure> {
    current_process::limit_allocator_caches();
    let opened = stdio::open().map_err(|error| Failure::internal(format!("cannot use stdin and stdout: {error}")));
    let (input, output) = opened?;
    let out = Outgoing::new(output);
    let front_end = FrontEnd::new(out.clone(), options, launch.clone());
    let codec = FrameCodec::new(Some(Framing::Ndjson), DEFAULT_MAX_FRAME_BYTES);
    let end = tokio::select! {
        end = connection::serve(input, codec, AcpService(front_end.clone()), out.clone()) => end,
        () = current_process::termination_signal() => ConnectionEnd::Gone,
    };
    let last = async {
        out.drained().await;
        front_end.discard_unused().await;
    };
    // Whatever is not done by now is left: runs go on, and an unused one ends by itself.
    tokio::time::timeout(END_TIMEOUT, last).await.ok();
    Ok(u8::from(end == ConnectionEnd::Broken))
}
