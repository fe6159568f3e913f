//! The recordings of `codex app-server`.

use super::recordings;

recordings! { Codex, "codex":
    app_server_approve app_server_cancel app_server_code_mode app_server_decline app_server_edit app_server_error
    app_server_hello app_server_interrupt app_server_interrupt_tool app_server_resume_1_first app_server_resume_2_resumed
    app_server_sigint app_server_sigterm app_server_tool
}
