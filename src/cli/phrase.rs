//! Sentences of the protocol in the command line's words: a server names methods and params, a person knows commands and options.

/// What a server says, and what it is called here. A word that a person may have chosen (`env` is a program too) counts only with
/// the words around it.
const PHRASES: [(&str, &str); 31] = [
    ("start a new one with `run/start`", "start a new one with `loomd run`, which goes on with an agent's session by `--resume RUN`"),
    ("`run/start`", "`loomd run`"),
    ("`run/cancel`", "`loomd cancel`"),
    ("`run/list`", "`loomd list`"),
    ("`run/closeInput`", "`loomd send --close`"),
    ("`session/list`", "`loomd sessions`"),
    ("`interactive: true`", "`--interactive`"),
    ("idleTimeoutMs allows", "--idle-timeout allows"),
    ("timeoutMs allows", "--timeout allows"),
    ("maxOutputBytes allows", "--max-output allows"),
    ("leave `regex` out", "leave `-e` out"),
    ("`query` is empty", "the text to look for is empty"),
    ("`query` is not a regular expression", "this is not a regular expression"),
    ("`query` is too large", "the regular expression is too large"),
    ("`query` has", "the text to look for has"),
    ("`query` can only", "the regular expression can only"),
    ("`query` asks for", "the regular expression asks for"),
    ("`query` ends with", "the regular expression ends with"),
    ("`limit` must be", "`--limit` must be"),
    ("set PATH in `env`", "set PATH with `--env`"),
    ("a directory as `cwd`", "a directory with `--cwd`"),
    ("another as `cwd`", "another with `--cwd`"),
    ("name one as `cwd`", "name one with `--cwd`"),
    ("looked up from `cwd`", "looked up from the working directory"),
    ("`prompt` is empty", "the prompt is empty"),
    ("takes no prompt; give it arguments, or `stdin`", "takes no prompt; give it arguments"),
    ("leave `permissions` out", "leave `--permissions` out"),
    ("leave `tty` out", "leave `--tty` out"),
    ("; use `stdin`", "; send the rest with `--interactive`"),
    ("give `text` or `prompt`", "give a text"),
    ("wait for `run/session`", "wait until it has begun"),
];

/// The same in the command line's words.
pub fn of_the_command_line(said: &str) -> String {
    let known = PHRASES.iter().filter(|(theirs, _)| said.contains(theirs));
    known.fold(said.to_owned(), |said, (theirs, ours)| said.replace(theirs, ours))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Failure, RunState};

    #[test]
    fn a_sentence_names_commands_and_options() {
        let said = |failure: Failure| of_the_command_line(&failure.message);
        let expected =
            "the run has ended (failed); start a new one with `loomd run`, which goes on with an agent's session by `--resume RUN`";
        assert_eq!(said(Failure::run_not_active(RunState::Failed)), expected);
        assert_eq!(said(Failure::run_active(RunState::Running)), "the run is running; cancel it first with `loomd cancel`");
        assert_eq!(of_the_command_line("longer than idleTimeoutMs allows (1 ms)"), "longer than --idle-timeout allows (1 ms)");
    }

    #[test]
    fn a_persons_own_words_stay_as_they_are() {
        for own in ["`env` was not found in PATH", "there is no provider `query`; known are: codex", "`tty` exited with code 1"] {
            assert_eq!(of_the_command_line(own), own);
        }
    }
}
