//! The recordings of `claude`.

use super::recordings;

recordings! { Claude, "claude":
    bare bidi bidi_allow bidi_deny bidi_eof bidi_interrupt bidi_interrupt_tool bidi_no_initialize bidi_queue edit error_400
    error_401 error_429 error_500 error_500_retries error_529 error_drop error_stream hello hello_partial json long_partial
    no_verbose session_1_session_id session_2_resume session_3_continue session_4_fork session_5_session_id_taken
    session_6_resume_unknown session_7_not_persisted session_8_resume_session_id_fork session_9_resume_other_cwd sigint
    sigint_then_resume sigint_tool sigkill_group_tool sigkill_tool sigterm sigterm_then_resume sigterm_tool
    skip_permissions_as_root skip_permissions_as_root_is_sandbox slow_partial stdin_open stdin_prompt text thinking tool
    tool_denied tool_partial
}
