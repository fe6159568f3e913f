//! Who is measured.

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Server {
    Loomd,
    /// The minimal relay that keeps nothing.
    Relay,
    /// The Node server in the usual manner.
    Node,
}

impl Server {
    pub fn name(self) -> &'static str {
        match self {
            Server::Loomd => "loomd",
            Server::Relay => "relay",
            Server::Node => "node",
        }
    }
}
