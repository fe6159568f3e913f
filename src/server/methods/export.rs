//! `run/export`.

use std::{
    io::{self, Write},
    sync::Arc,
};

use tokio_util::sync::CancellationToken;

use super::{Request, large_answer, on_blocking_thread};
use crate::{
    export::{self, ExportError, file::Destination},
    history::History,
    model::{
        Failure,
        calls::{ExportFormat, ExportParams, ExportResult},
    },
};

/// Bytes of content in an answer.
const MAX_INLINE_BYTES: usize = 32 << 20;

pub(crate) async fn export(params: ExportParams, request: Request) -> Result<ExportResult, Failure> {
    // A caller that gives the request up drops `_guard` here, which cancels the work on the other thread.
    let cancel = request.context.cancel.clone();
    let abandoned = CancellationToken::new();
    let _guard = abandoned.clone().drop_guard();
    let is_cancelled = move || cancel.is_cancelled() || abandoned.is_cancelled();
    match params.path.clone() {
        Some(path) => {
            let server = Arc::clone(&request.server);
            // An export may take long, and must not hold up requests that are answered in a moment.
            let _turn = server.exports.acquire().await;
            let data_dir = server.data_dir.clone();
            on_blocking_thread(&server, move |history| {
                let run = history.known_run(params.run_id)?;
                let destination = Destination::find(&path, &data_dir)?;
                let written = destination.write(|out| export::write(history, &run, params.format, out, &is_cancelled));
                written.map_err(|error| export_failure(error, |error| destination.error(error).into()))?;
                Ok(ExportResult { path: Some(path), content: None })
            })
            .await
        }
        None => large_answer(&request, move |history| inline(history, &params, &is_cancelled)).await,
    }
}

fn inline(history: &History, params: &ExportParams, is_cancelled: &dyn Fn() -> bool) -> Result<ExportResult, Failure> {
    let run = history.known_run(params.run_id)?;
    let too_long = || {
        Failure::limit(
            MAX_INLINE_BYTES as u64,
            format!("the run is too long for an answer as {}; give a `path` to write it to a file", params.format.as_str()),
        )
    };
    if matches!(params.format, ExportFormat::Text) && run.bytes.total() > MAX_INLINE_BYTES as u64 {
        return Err(too_long());
    }
    let mut content = InlineContent(Vec::new());
    let written = export::write(history, &run, params.format, &mut content, is_cancelled);
    written.map_err(|error| {
        export_failure(error, |error| if content_is_full(&error) { too_long() } else { Failure::internal(error.to_string()) })
    })?;
    let content = String::from_utf8(content.0).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    Ok(ExportResult { path: None, content: Some(content) })
}

fn export_failure(error: ExportError, write_failure: impl FnOnce(io::Error) -> Failure) -> Failure {
    match error {
        ExportError::Write(error) => write_failure(error),
        ExportError::Read(error) => error.into(),
        ExportError::Cancelled => Failure::cancelled(),
    }
}

fn content_is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::FileTooLarge
}

/// Collects content for an answer; refuses more than [`MAX_INLINE_BYTES`].
struct InlineContent(Vec<u8>);

impl Write for InlineContent {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_INLINE_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
