//! Clients of `loomd acp` whose sessions have the scripted agent.

use std::process::Command;

use serde_json::{Value, json};

pub(super) use crate::harness::{AcpPeer, held, read};
use crate::{
    agents::scripted,
    harness::{Home, isolated},
};

/// How a client is.
pub(super) struct PeerSetup {
    pub(super) arguments: Vec<String>,
    pub(super) name: &'static str,
    pub(super) capabilities: Value,
}

impl PeerSetup {
    /// A client whose new sessions have the scripted agent.
    pub(super) fn scripted(home: &Home) -> Self {
        let mut arguments = vec!["--".to_owned()];
        arguments.extend(scripted(home, &[]));
        Self { arguments, name: "test", capabilities: json!({}) }
    }

    pub(super) fn spawn(self, home: &Home) -> AcpPeer {
        let mut command = isolated(Command::new(env!("CARGO_BIN_EXE_loomd")), home);
        command.arg("--data-dir").arg(home.data()).arg("acp").args(&self.arguments);
        AcpPeer::spawn(command)
    }

    pub(super) fn start(self, home: &Home) -> AcpPeer {
        let (name, capabilities) = (self.name, self.capabilities.clone());
        let mut peer = self.spawn(home);
        peer.initialize(name, capabilities);
        peer
    }
}

impl AcpPeer {
    pub(super) fn start(home: &Home) -> Self {
        PeerSetup::scripted(home).start(home)
    }
}
