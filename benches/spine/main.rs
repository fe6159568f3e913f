//! Measures loomd and two references in one run, turn by turn. `cargo bench --bench spine -- --help` lists the options;
//! docs/performance.md says what is measured and how.
//!
//! The bench reads the accounts of processes in Linux's `/proc`, so it runs on Linux only.

#[cfg(target_os = "linux")]
mod client;
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
    eprintln!("bench: skipped, it needs Linux");
}
