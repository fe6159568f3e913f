//! Errors in the protocol's words, from what providers say of theirs.

use crate::model::RunError;

/// An error of a provider, classed by the HTTP status that its model answered with, if it told one, and by its words.
pub fn provider_error(status: Option<u16>, message: &str) -> RunError {
    let lower = message.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let kind = match status {
        Some(401 | 403) => "auth",
        Some(429 | 529) => "rateLimit",
        Some(_) => "provider",
        None if says(&[
            "401",
            "unauthorized",
            "authentication",
            "api key",
            "not logged in",
            "please log in",
            "login required",
            "auth_required",
        ]) =>
        {
            "auth"
        }
        None if says(&["429", "529", "rate limit", "rate_limit", "overloaded", "too many requests", "usage limit", "quota"]) => "rateLimit",
        None => "provider",
    };
    RunError { kind: kind.to_owned(), message: sentence(message) }
}

/// The provider does not know the session that was to be gone on with.
pub fn session_not_found(id: &str, provider: &str) -> RunError {
    let message = format!("{provider} knows no session {id}; it may have been deleted, or belongs to another directory or user");
    RunError { kind: "sessionNotFound".to_owned(), message }
}

/// What the provider said was no answer to what it was asked.
pub fn protocol(message: &str) -> RunError {
    RunError { kind: "protocol".to_owned(), message: sentence(message) }
}

/// Longest message; what is cut off is in the log as output.
const LONGEST: usize = 2000;

/// A message without line ends and of bounded length.
fn sentence(message: &str) -> String {
    let mut sentence = message.split_whitespace().collect::<Vec<_>>().join(" ");
    if sentence.len() > LONGEST {
        sentence.truncate(super::reconcile::floor(&sentence, LONGEST));
        sentence.push('…');
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_tells_more_than_words() {
        assert_eq!(provider_error(Some(401), "no").kind, "auth");
        assert_eq!(provider_error(Some(529), "Overloaded").kind, "rateLimit");
        assert_eq!(provider_error(Some(500), "the api key service is down").kind, "provider");
        assert_eq!(provider_error(None, "Invalid API key · Please run /login").kind, "auth");
        assert_eq!(provider_error(None, "exceeded retry limit, last status: 429 Too Many Requests").kind, "rateLimit");
        assert_eq!(provider_error(None, "boom\n at x").message, "boom at x");
    }
}
