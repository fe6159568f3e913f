//! Entry.
use std::process::ExitCode;
fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|word| word == "supervise") {
        return loomd::supervisor::main();
    }
    let mut options = loomd::server::Options::default();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        if arg == "--data-dir" {
            options.places.data_dir = args.next().map(Into::into);
        }
        if arg == "--config" {
            options.places.config = args.next().map(Into::into);
        }
    }
    loomd::server::main(options)
}
