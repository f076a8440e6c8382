"""Faults of sessions and runs in well-known programs, and the tests that show that none is here.

Each fault was seen in one program or another of those that run agents and keep what they did. The
tests are named by file and function, from `tests/orchestrator` on. `test_weaknesses` holds that
each of them is there and runs with all others, and has those that belong to no other file.
"""

FAULTS = {
    "two turns at once: the second is noticed after it was paid for, or one of them is lost": (
        "test_at_once.test_second_turn_at_once_asks_no_model",
        "test_store.test_only_one_of_many_claims_at_once_gets_the_session",
        "test_busy.test_turn_waits_in_line_until_the_session_is_free",
        "test_weaknesses.test_no_turn_fork_or_cancellation_changes_what_was_written",
    ),
    "numbers are the highest one plus one: two writers give out one number, or lose a turn": (
        "test_weaknesses.test_database_itself_refuses_a_number_that_is_there",
        "test_at_once.test_50_sessions_at_once_have_each_event_once_and_in_order",
        "test_at_once.test_four_processes_write_one_record_and_no_event_is_lost_or_twice",
        "test_hard_times.test_run_goes_on_after_another_program_has_locked_the_database",
    ),
    "the history is written anew with each turn, or listed in each snapshot": (
        "test_weaknesses.test_no_turn_fork_or_cancellation_changes_what_was_written",
        "test_weaknesses.test_turn_of_a_long_session_writes_no_more_rows_than_one_of_a_short",
        "test_store.test_messages_are_numbered_and_written_once",
    ),
    "a history that cannot be read becomes none, or loses what cannot be decoded": (
        "test_damage.test_damage_is_an_error_of_what_needs_the_row_and_of_nothing_else",
        "test_store.test_unreadable_history_is_an_error_and_stays",
        "test_forks.test_history_that_cannot_be_read_offers_the_fork_before_the_damage",
    ),
    "what cannot be turned into JSON is left out without a word: bytes, half a letter": (
        "test_contents.test_whatever_tools_return_a_run_is_on_record_as_it_was",
        "test_generated.test_what_is_written_is_what_is_read",
    ),
    "each piece of a streamed answer is a transaction, or is not stored at all": (
        "test_weaknesses.test_streamed_answer_takes_few_transactions",
        "test_recorder.test_tokens_are_not_written_one_by_one",
        "test_runner.test_streamed_text_is_on_record_while_the_model_goes_on",
    ),
    "a streamed answer is stored as all its beginnings, one after the other": (
        "test_recorder.test_tokens_are_not_written_one_by_one",
        "test_at_once.test_50_sessions_at_once_have_each_event_once_and_in_order",
    ),
    "the question is stored after the answer, so that a crash loses it": (
        "test_store.test_prompt_and_run_are_on_record_with_the_claim",
        "test_recorder.test_request_and_call_are_on_record_before_model_and_tool_begin",
        "test_weaknesses.test_whoever_waits_and_whoever_reads_along_get_the_same_record",
    ),
    "a run ends with whoever reads it, or waits for them": (
        "test_endings.test_run_outlives_its_reader",
        "test_following.test_reader_who_stops_in_the_middle_holds_nothing_up",
        "test_following.test_readers_in_other_processes_neither_hold_up_a_run_nor_end_it",
    ),
    "a reader who comes back begins anew, or misses what has happened meanwhile": (
        "test_following.test_idle_session_is_read_to_its_end",
        "test_following.test_reader_of_another_process_sees_a_run_go_on_to_its_end",
        "test_store.test_reader_follows_a_run_from_any_number_on",
    ),
    "a few slow readers take all connections to the database": (
        "test_weaknesses.test_readers_who_stop_reading_keep_no_connection",
    ),
    "a failure is a success with other words in it, and tells what is nobody's business": (
        "test_endings.test_fault_of_our_own_is_logged_and_told_without_details",
        "test_endings.test_budget_that_is_used_up_is_a_limit_error_and_on_record",
        "test_cli.test_every_error_has_the_exit_code_of_its_branch",
    ),
    "anybody reads and goes on with anybody's session or run by its id": (
        "test_sessions.test_what_another_owner_has_is_not_there",
        "test_definitions.test_what_another_owns_is_not_there",
    ),
    "clients of providers are made anew for each turn": (
        "../wire/test_model_service.test_model_is_built_once_and_keeps_its_connection_between_runs",
    ),
    "an agent that was built once is kept for ever: an edit of it never counts": (
        "test_weaknesses.test_instructions_are_those_of_today_and_the_past_keeps_its_own",
        "test_catalogue_of_both.test_edit_counts_from_the_next_run_on",
    ),
    "a thing is known by how it happens to be printed": (
        "test_weaknesses.test_arguments_are_hashed_by_what_they_say",
        "test_specs.test_hash_is_of_the_content_and_not_of_the_writing",
    ),
    "instructions are a message of the past: edited ones never reach an old session": (
        "test_weaknesses.test_instructions_are_those_of_today_and_the_past_keeps_its_own",
    ),
    "instructions are most of what is stored": ("test_store.test_instructions_are_stored_once",),
    "order is that of clocks": (
        "test_weaknesses.test_order_is_that_of_numbers_and_not_of_clocks",
        "test_sessions.test_sessions_of_one_moment_are_paged_too",
    ),
    "a time loses its zone or its microseconds on the way": (
        "test_weaknesses.test_no_time_is_asked_for_without_its_zone",
        "test_usage.test_day_is_that_of_utc_to_the_microsecond",
        "test_usage.test_time_without_a_zone_is_refused",
        "test_transfer.test_export_that_is_imported_and_exported_again_is_the_same",
    ),
    "a column has a name that the models need themselves": (
        "test_weaknesses.test_no_column_has_a_name_that_the_models_need_themselves",
    ),
    "tables are made anew at each start, and an update leaves sessions behind": (
        "test_migrations.test_sessions_of_the_first_schema_go_on",
        "test_migrations.test_one_of_many_processes_upgrades_and_the_others_wait",
        "test_migrations.test_kill_in_the_middle_leaves_the_old_record_whole",
        "test_migrations.test_newer_record_is_refused_by_both_revisions_and_left_alone",
    ),
    "an unknown price is nothing, and sums drift": (
        "test_usage.test_sums_are_exact_and_of_each_kind",
        "test_usage.test_runs_of_unknown_price_are_counted_beside_the_sum",
        "test_store.test_cost_is_exact_and_unknown_is_not_zero",
        "test_runner.test_unknown_price_is_unknown_also_after_a_known_one",
    ),
    "limits begin anew with each turn, as the session's usage is not kept": (
        "test_store.test_next_turn_gets_the_messages_of_the_ones_before",
        "test_runner.test_usage_is_that_of_the_run_and_adds_up_in_the_session",
        "test_allowance.test_session_ends_where_its_limit_is_and_another_one_begins_anew",
    ),
    "runs have no limit that holds": (
        "test_endings.test_budget_that_is_used_up_is_a_limit_error_and_on_record",
        "test_allowance.test_day_of_an_owner_ends_where_its_limit_is_and_others_go_on",
    ),
    "what is stored runs with the rights of the program": (
        "test_trust.test_capability_that_reaches_further_is_refused_when_it_is_run",
        "test_trust.test_definition_gets_nothing_done_by_an_agent_that_may_do_more",
    ),
    "what a model has thought is shown to whoever reads the session": (
        "test_weaknesses.test_what_a_model_has_thought_is_shown_to_no_reader",
    ),
    "logs, traces and errors tell what was said, or what was to be written": (
        "test_weaknesses.test_no_log_and_no_trace_tells_what_was_said",
        "test_lost_connection.test_transaction_that_is_tried_again_tells_nothing_that_it_writes",
        "test_database.test_no_part_of_a_url_that_cannot_be_used_is_told",
    ),
    "keys of filters are put into queries as they come": (
        "test_weaknesses.test_what_is_looked_for_is_never_a_query",
        "test_hostile_names.test_text_that_is_no_id_names_nothing",
    ),
    "what is stored are objects of a program: who can write a row runs code in who reads it": (
        "test_weaknesses.test_nothing_on_record_is_an_object_of_a_program",
    ),
    "a call without its result makes the session unusable": (
        "test_store.test_call_that_a_broken_run_left_open_is_closed_for_the_next_turn",
        "test_killed_runs.test_run_killed_at_any_moment_goes_on_and_does_everything_once",
    ),
    "a run whose process died holds its session for ever, or for as long as a clock says": (
        "test_liveness.test_clock_that_is_set_takes_no_run_for_dead_and_keeps_none_alive",
        "test_liveness.test_killed_process_loses_its_run_at_once",
    ),
    "a run that was killed begins anew, and what it did is done twice": (
        "test_killed_runs.test_run_killed_at_any_moment_goes_on_and_does_everything_once",
        "test_resumption.test_call_whose_result_is_known_is_not_made_again",
        "test_resumption.test_call_of_which_nobody_knows_whether_it_was_made_is_not_made_again",
    ),
    "a long list is read as a whole": (
        "test_sessions.test_no_query_of_the_list_reads_or_sorts_a_whole_table",
    ),
    "a long session is read as a whole although it was summarized": (
        "test_compaction.test_long_session_goes_on_in_a_small_window",
        "test_compaction.test_next_run_is_given_what_the_last_one_had",
    ),
    "a summary takes the place of what it stands for, which is gone": (
        "test_compaction.test_record_keeps_every_message_word_for_word",
    ),
    "one damaged row takes the others with it, and cannot be got rid of": (
        "test_damage.test_damaged_session_hides_no_other_and_is_named",
        "test_damage.test_whatever_of_a_session_is_damaged_it_can_be_deleted",
        "test_damage.test_session_whose_id_is_none_is_named_by_its_row_and_can_be_deleted",
        "test_usage.test_damaged_run_is_named_and_all_others_are_counted",
    ),
    "a process that hangs holds what it has locked for ever": (
        "test_lost_connection."
        "test_process_that_hangs_in_a_transaction_loses_its_locks_and_does_it_again",
    ),
    "a database that is restarted ends all runs, and a repeated write is there twice": (
        "test_lost_connection.test_run_goes_on_when_postgres_is_restarted_under_it",
        "test_lost_connection.test_commit_whose_answer_is_lost_is_found_and_not_done_twice",
    ),
    "what is on record steers the terminal of whoever looks at it": (
        "test_terminal.test_no_command_lets_a_record_steer_the_terminal",
    ),
}
"""By fault, the tests that show that it is not here."""
