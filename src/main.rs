//! The binary `loomd`. [`loomd::main`] does everything.

use std::process::ExitCode;

fn main() -> ExitCode {
    loomd::main()
}
