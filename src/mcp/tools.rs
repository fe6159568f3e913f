//! The table of tools: what each is for, its arguments, and its handler.

use std::sync::Arc;

use schemars::{JsonSchema, generate::SchemaSettings};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json, value::to_raw_value};

use super::{finding, front_end::McpFrontEnd, reading, search, steering};
use crate::{model::Failure, rpc::read_params};

/// What a tool may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ToolAccess {
    Reads,
    /// It is offered with `--may-start` only.
    Changes,
}

/// A tool, as `tools/list` describes it.
struct ToolDescription {
    name: &'static str,
    access: ToolAccess,
    description: &'static str,
    input_schema: fn() -> Value,
}

macro_rules! tools {
    ($($access:ident $name:literal => $handler:path, $arguments:ty, $description:literal;)+) => {
        const TOOLS: &[ToolDescription] = &[$(ToolDescription {
            name: $name,
            access: ToolAccess::$access,
            description: $description,
            input_schema: input_schema::<$arguments>,
        }),+];

        async fn dispatch(front_end: &Arc<McpFrontEnd>, name: &str, arguments: Map<String, Value>) -> Result<String, Failure> {
            match name {
                $($name => $handler(front_end, read_arguments::<$arguments>(arguments)?).await,)+
                _ => Err(unknown(name)),
            }
        }
    };
}

tools! {
    Reads "search_runs" => search::search_runs, search::SearchRunsArguments,
        "Searches what was said, called and printed in earlier and running runs, the newest run first, line by line: prompts, messages, \
tool calls with their input, output and changes, output of commands. At most 50 lines of 300 bytes an answer, 10 of one run; `cursor` goes on. A search \
of many runs is answered after 8 seconds with what was found by then and a `cursor`.";
    Reads "list_runs" => finding::list_runs, finding::ListRunsArguments,
        "Lists runs, the newest first: id, provider, state, time, title. At most 50 an answer; `cursor` goes on.";
    Reads "runs_touching" => finding::runs_touching, finding::RunsTouchingArguments,
        "Lists the agents' runs whose tool calls read, changed, moved or deleted a file, the newest first. At most 50 an answer; `cursor` \
goes on. Commands that a shell ran are not known to touch files.";
    Reads "outline" => reading::outline, reading::OutlineArguments,
        "Shows a run in one line for each step: prompts, messages, tool calls with their outcome, ends of turns, and how the run stands. At \
most 8 KiB an answer; `after` goes on.";
    Reads "read_run" => reading::read_run, reading::ReadRunArguments,
        "Reads a run. Of an agent: items from the beginning, or after or before one, long ones shortened; with `item`, one item whole, from \
byte `offset` on. Of a command: its output from byte `offset` on. At most 8 KiB an answer; the answer ends with how to go on.";
    Reads "run_changes" => reading::run_changes, reading::RunChangesArguments,
        "Lists the files that an agent's run changed; with `path`, the change of that file as a patch, from byte `offset` on. At most 8 KiB \
an answer.";
    Reads "tail_output" => reading::tail_output, reading::TailOutputArguments,
        "Shows the end of a run, also of one that is running: of a command its last output, of an agent its last items. At most 8 KiB.";
    Reads "wait_run" => reading::wait_run, reading::WaitRunArguments,
        "Waits until a run has ended, needs an answer from a person, or is idle, for at most 50 seconds, and says how it stands. Call it \
again to wait longer.";
    Reads "resume_command" => reading::resume_command, reading::ResumeCommandArguments,
        "Returns the command line with which a person continues an agent's session in its own program, or runs a command again. It runs \
nothing.";
    Changes "start_command" => steering::start_command, steering::StartCommandArguments,
        "Starts a program that keeps running when you or the editor end, if you are in no run yourself; one that you start from within a \
run ends with that. Returns the id of its run at once; wait_run and tail_output follow it.";
    Changes "cancel_run" => steering::cancel_run, steering::CancelRunArguments,
        "Ends a run with all its processes.";
    Changes "send" => steering::send, steering::SendArguments,
        "Sends text to a run: to an agent a prompt, which waits for its turn; to a command that was started with `interactive` a line for \
its stdin.";
}

/// The result of `tools/list`.
pub(super) fn list(may_start: bool) -> Value {
    let offered = TOOLS.iter().filter(|tool| tool.is_offered(may_start));
    let tools: Vec<Value> = offered
        .map(|tool| {
            let reads = tool.access == ToolAccess::Reads;
            json!({
                "name": tool.name,
                "description": tool.description,
                "inputSchema": (tool.input_schema)(),
                "annotations": { "readOnlyHint": reads, "destructiveHint": !reads, "openWorldHint": !reads },
            })
        })
        .collect();
    json!({ "tools": tools })
}

/// The result of `tools/call`. What goes wrong is told to the model, which can do better.
pub(super) async fn call(front_end: &Arc<McpFrontEnd>, name: &str, arguments: Map<String, Value>) -> Result<Value, Failure> {
    if !TOOLS.iter().any(|tool| tool.name == name && tool.is_offered(front_end.may_start)) {
        return Err(unknown(name));
    }
    let (text, is_error) = match dispatch(front_end, name, arguments).await {
        Ok(text) => (text, false),
        Err(failure) => (failure.message, true),
    };
    Ok(json!({ "content": [{ "type": "text", "text": text }], "isError": is_error }))
}

impl ToolDescription {
    fn is_offered(&self, may_start: bool) -> bool {
        may_start || self.access == ToolAccess::Reads
    }
}

fn unknown(name: &str) -> Failure {
    Failure::invalid_params("name", format!("there is no tool `{name}` here; `tools/list` lists them"))
}

fn read_arguments<T: DeserializeOwned>(arguments: Map<String, Value>) -> Result<T, Failure> {
    let raw = to_raw_value(&arguments).map_err(|error| Failure::internal(error.to_string()))?;
    read_params(Some(&raw))
}

fn input_schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.meta_schema = None;
        settings.inline_subschemas = true;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    if let Some(schema) = schema.as_object_mut() {
        schema.shift_remove("title");
        schema.shift_remove("description");
        for property in schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
            leave_null_out(property);
        }
    }
    schema
}

/// What is optional may be left out; that it may be null as well is of no use to a model, and some clients refuse such types.
fn leave_null_out(property: &mut Value) {
    let Some(property) = property.as_object_mut() else { return };
    property.shift_remove("default");
    if let Some(types) = property.get("type").and_then(Value::as_array) {
        let other = types.iter().find(|name| *name != "null").cloned();
        property.insert("type".to_owned(), other.unwrap_or_default());
    }
    if let Some(Value::Array(choices)) = property.shift_remove("anyOf") {
        let other = choices.into_iter().find(|choice| choice["type"] != "null");
        property.extend(other.as_ref().and_then(Value::as_object).cloned().into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a model reads of the tools. A change of it is a change for every client.
    #[test]
    fn the_tools_are_described() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&list(true)).expect("JSON"));
    }
}
