//! The recordings of agents that speak the Agent Client Protocol.

mod claude_agent {
    use crate::agents::replayed::recordings;

    recordings! { Acp, "claude-agent-acp":
        cancel cancel_tool eof_tool error hello load_1_first load_2_loaded load_3_resumed permission_allow permission_cancel
        permission_reject sigterm_tool tool tool_auto_mode_blocked
    }
}

mod codex {
    use crate::agents::replayed::recordings;

    recordings! { Acp, "codex-acp":
        cancel cancel_tool eof_tool error hello load_1_first load_2_loaded load_3_resumed permission_allow permission_cancel
        permission_reject sigterm_tool tool
    }
}

mod gemini {
    use crate::agents::replayed::recordings;

    recordings! { Acp, "gemini-acp":
        cancel cancel_tool eof_tool error hello load_1_first load_2_loaded load_3_resumed permission_allow permission_cancel
        sigterm_tool tool
    }
}

mod opencode {
    use crate::agents::replayed::recordings;

    recordings! { Acp, "opencode-acp":
        cancel cancel_tool eof_tool error hello load_1_first load_2_loaded load_3_resumed permission_allow permission_reject
        sigterm_tool
    }
}
