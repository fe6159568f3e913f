//! loomd beside two references, in one run and turn by turn. `cargo bench --bench spine -- --help` tells the rest;
//! docs/performance.md says what is measured how.
//!
//! Reads the accounts of processes where Linux keeps them, and runs nowhere else.

#[cfg(target_os = "linux")]
mod client;
#[cfg(target_os = "linux")]
mod contenders;
#[cfg(target_os = "linux")]
mod figures;
#[cfg(target_os = "linux")]
mod flood;
#[cfg(target_os = "linux")]
mod frames;
#[cfg(target_os = "linux")]
mod generate;
#[cfg(target_os = "linux")]
mod options;
#[cfg(target_os = "linux")]
mod paced;
#[cfg(target_os = "linux")]
mod processes;
#[cfg(target_os = "linux")]
mod relay;
#[cfg(target_os = "linux")]
mod report;
#[cfg(target_os = "linux")]
mod servers;
#[cfg(target_os = "linux")]
mod starts;
#[cfg(target_os = "linux")]
mod turns;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    match turns::run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("bench: left out, it needs Linux");
}
