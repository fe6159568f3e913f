//! The recordings of programs that print what they do.

mod codex_exec {
    use crate::agents::replayed::recordings;

    recordings! { Plain, "codex":
        app_server_resume_3_by_exec exec_approval exec_code_mode_edit exec_code_mode_tool exec_edit exec_edit_read_only exec_ephemeral exec_error_400
        exec_error_401 exec_error_429 exec_error_500 exec_error_500_default_retries exec_error_drop exec_error_stream exec_hello
        exec_long exec_native_hello exec_native_sigint_tool exec_native_sigterm_tool exec_no_git exec_resume_1_first
        exec_resume_2_by_id exec_resume_3_last exec_resume_4_fork exec_resume_5_unknown_id exec_sigint_resumed
        exec_sigint_resumed_2 exec_sigint_tool exec_sigkill_group_tool exec_sigkill_tool exec_sigterm_resumed
        exec_sigterm_resumed_2 exec_sigterm_tool exec_slow exec_stdin_open exec_stdin_prompt exec_thinking exec_tool
        exec_tool_sandboxed exec_toolfail
    }
}

mod gemini {
    use crate::agents::replayed::recordings;

    recordings! { Plain, "gemini":
        error_401 hello resume_1_first resume_2_by_id sigint_tool sigterm_tool tool tool_denied
    }
}

mod opencode {
    use crate::agents::replayed::recordings;

    recordings! { Plain, "opencode":
        error_401 hello resume_1_first resume_2_by_id sigint_tool sigterm_tool tool tool_denied
    }
}
