//! The bugs: what a store of this kind can get wrong, and what this one once had.
//!
//! An edit stands for one place of one file: the sound text, which has to stand there exactly once, and what takes its
//! place, where `PLANTED` is whether this bug was chosen and `SOUND` the text itself.

/// One place of a file of `src`.
pub(crate) struct Edit {
    pub(crate) file: &'static str,
    pub(crate) sound: &'static str,
    pub(crate) planted: &'static str,
}

/// One bug, and the test that catches it.
pub(crate) struct Bug {
    pub(crate) name: &'static str,
    pub(crate) edits: &'static [Edit],
    /// The test target and its test.
    pub(crate) caught_by: (&'static str, &'static str),
}

/// An expression, and the one that is planted for it.
macro_rules! instead {
    ($file:literal, $sound:literal => $other:literal) => {
        Edit {
            file: $file,
            sound: $sound,
            planted: concat!("(if PLANTED { ", $other, " } else { ", $sound, " })"),
        }
    };
}

/// A statement that is left out.
macro_rules! without {
    ($file:literal, $sound:literal) => {
        Edit { file: $file, sound: $sound, planted: concat!("if !PLANTED { ", $sound, " }") }
    };
}

/// A condition that holds in any case.
macro_rules! always {
    ($file:literal, $sound:literal) => {
        Edit { file: $file, sound: $sound, planted: concat!("(PLANTED || (", $sound, "))") }
    };
}

/// A condition that never holds.
macro_rules! never {
    ($file:literal, $sound:literal) => {
        Edit { file: $file, sound: $sound, planted: concat!("(!PLANTED && (", $sound, "))") }
    };
}

/// Any text.
macro_rules! text {
    ($file:literal, $sound:literal => $planted:literal) => {
        Edit { file: $file, sound: $sound, planted: $planted }
    };
}

macro_rules! bank {
    ($($name:ident: [$($edit:expr),+ $(,)?], $target:literal $test:literal;)*) => {
        pub(crate) const BANK: &[Bug] = &[$(Bug {
            name: stringify!($name),
            edits: &[$($edit),+],
            caught_by: ($target, $test),
        }),*];
    };
}

bank! {
    // Identity and parameters.
    the_scope_is_left_out_of_the_key:
        [instead!("token.rs", "[scope, token]" => "[&b\"s\"[..], token]")], "contract"
        "every::s1_identity::one_token_under_two_scopes_is_two_keys_1_2";
    the_token_is_shown_when_a_key_is_debugged:
        [text!("token.rs", "write!(f, \"Key(scope: {} bytes, token: {} bytes)\", self.scope().len(), self.token().len())" =>
            "if PLANTED { write!(f, \"Key({})\", self.token()) } else { SOUND }")], "lib"
        "token::tests::debug_shows_lengths_only_10_2";
    settings_of_a_record_are_not_asked_for:
        [always!("comparing.rs", "record.rules() == self.current_rules")], "contract"
        "every::s2_versions::a_changed_set_of_names_still_compares_old_records_under_the_old_one_2_2";
    every_digest_is_bound_under_the_first_secret:
        [text!("comparing.rs", "let Some(secret) = self.secret(record.secret()) else" =>
            "let Some(secret) = self.secret(if PLANTED { 1 } else { record.secret() }) else")], "contract"
        "s11_secrets::after_a_rotation_records_of_before_and_after_are_compared_11";
    parameters_are_digested_in_the_order_they_came:
        [without!("digest/v1.rs", "sorted.sort_by_key(|&(name, _)| name);")], "contract"
        "every::s2_forms::the_order_of_parameters_never_matters_2_1";

    // Asking.
    digests_are_not_compared_in_flight:
        [text!("store/asking.rs", "Fingerprinted::Digest(_) => Comparison::Different," =>
            "Fingerprinted::Digest(_) => if PLANTED { Comparison::Equal } else { Comparison::Different },")], "contract"
        "every::s3_asking::a_running_key_with_other_parameters_is_a_mismatch_3_2";
    digests_are_not_compared_on_a_take_over:
        [text!("store/asking.rs", "_ if slot.is_settled() => Comparison::Equal," =>
            "_ if slot.is_settled() || (PLANTED && slot.is_lapsed(now)) => Comparison::Equal,")], "contract"
        "every::s4_leases::a_take_over_with_other_parameters_is_a_mismatch_4_4";
    digests_are_not_compared_while_it_is_written:
        [text!("store/asking.rs", "Fingerprinted::Digest(digest) if digest == slot.digest =>" =>
            "Fingerprinted::Digest(digest) if digest == slot.digest || (PLANTED && slot.phase == Phase::Completing) =>")], "lib"
        "store::tests::slow::what_is_being_written_is_in_flight_and_with_other_parameters_a_mismatch_3_2_4_1";
    digests_are_not_compared_after_a_wait:
        [always!("store/waiting.rs", "matches!(ask.digest, Fingerprinted::Digest(digest) if digest == ended.digest)")], "contract"
        "every::s3_waiting::after_a_wait_other_parameters_are_a_mismatch_3_7";
    digests_are_not_compared_among_recent_outcomes:
        [text!("store/reading.rs", "_ => Comparison::Different," =>
            "_ => if PLANTED { Comparison::Equal } else { Comparison::Different },")], "contract"
        "s3_recent::other_parameters_are_a_mismatch_however_recent_it_is_3_3";
    what_has_expired_is_replayed:
        [never!("verdict.rs", "state == (State::Finished { expired: true })")], "contract"
        "every::s7_time::a_record_is_replayed_until_the_bound_and_never_at_it_7_1";
    the_last_moment_still_replays:
        [text!("store/reading.rs", "let expired = record.expires() <= now.time;" =>
            "let expired = record.expires() < now.time || (!PLANTED && record.expires() == now.time);")], "contract"
        "every::s7_time::a_record_is_replayed_until_the_bound_and_never_at_it_7_1";
    the_last_moment_still_replays_what_is_recent:
        [text!("store/reading.rs", "known.replay.expires() <= now.time" =>
            "known.replay.expires() < now.time || (!PLANTED && known.replay.expires() == now.time)")], "contract"
        "s3_recent::what_is_forgotten_or_has_expired_is_not_replayed_from_memory_4_6_7_1";
    a_recent_outcome_counts_wherever_its_record_stands:
        [text!("inflight/recent.rs", "|own| own.at == at && counts(&own.ended)" =>
            "|own| (PLANTED || own.at == at) && counts(&own.ended)")], "lib"
        "inflight::recent::tests::it_gives_what_was_last_put_at_this_very_place_or_nothing";
    what_was_first_sent_too_long_ago_runs:
        [never!("store/asking.rs", "*age >= terms.retention")], "contract"
        "every::s3_asking::a_request_first_sent_before_the_retention_is_expired_3_8";

    // Waiting.
    the_end_wakes_nobody:
        [text!("inflight/gate.rs", "let _ = self.ended.set(ended);\n        self.wake_all();" =>
            "let _ = self.ended.set(ended);\n        if !PLANTED { self.wake_all(); }")], "contract"
        "every::s3_waiting::a_waiting_future_is_woken_by_the_outcome_and_gets_the_replay_3_7";
    a_release_calls_nobody:
        [text!("store/shared.rs", "if let Some(gate) = self.vacate(stripe, hash, fence) {\n            gate.wake_one();" =>
            "if let Some(gate) = self.vacate(stripe, hash, fence).filter(|_| !PLANTED) {\n            gate.wake_one();")], "contract"
        "every::s3_waiting::a_release_wakes_exactly_one_waiting_future_3_7";
    a_call_ends_with_the_one_who_leaves:
        [never!("inflight/gate.rs", "gone.as_ref().is_some_and(|(sleeper, _)| sleeper.called)")], "lib"
        "inflight::gate::tests::a_call_wakes_exactly_the_first_and_passes_on_if_that_one_leaves_3_7";
    who_gives_up_waiting_removes_the_reservation:
        [text!("store/seat.rs", "slot.phase == Phase::Vacant && slot.waiters == 0" =>
            "(PLANTED || slot.phase == Phase::Vacant) && slot.waiters == 0")], "contract"
        "every::s3_waiting::a_waiter_that_gives_up_changes_nothing_and_frees_its_place_3_7";
    a_newcomer_takes_what_was_promised_to_waiters:
        [always!("store/seat.rs", "slot.lease_end <= now.tick || sits()")], "contract"
        "every::s3_waiting::after_a_wait_other_parameters_are_a_mismatch_3_7";
    waiters_are_not_counted:
        [never!("store/seat.rs", "slot.waiters >= limit")], "conformance"
        "the_store_in_memory_conforms";

    // Holding.
    a_fence_is_not_compared:
        [text!("inflight/slots.rs", "self.find_by(hash, |slot| slot.fence == fence)" =>
            "self.find_by(hash, |slot| slot.fence == fence || (PLANTED && slot.hash == hash))")], "contract"
        "every::s4_leases::a_lost_holder_changes_nothing_while_the_new_one_runs_4_4";
    a_take_over_keeps_the_fence:
        [without!("store/asking.rs", "slot.fence = *fence;")], "contract"
        "every::s4_leases::a_lost_holder_changes_nothing_while_the_new_one_runs_4_4";
    a_take_over_is_the_same_attempt:
        [without!("store/asking.rs", "slot.attempt = slot.attempt.saturating_add(1);")], "contract"
        "every::s4_leases::a_lease_of_time_left_0_has_lapsed_and_1_has_not_4_4";
    the_epoch_is_not_raised:
        [without!("ledger/recovery.rs", "identity.epoch += 1;")], "contract"
        "s5_reopened::a_fence_is_never_used_twice_though_the_store_was_opened_again_in_between_4_4";
    a_lease_with_no_time_left_still_holds:
        [text!("inflight/slots.rs", "self.phase == Phase::Running && self.lease_end <= now.tick" =>
            "self.phase == Phase::Running && (self.lease_end < now.tick || (!PLANTED && self.lease_end == now.tick))")], "contract"
        "every::s4_leases::a_lease_of_time_left_0_has_lapsed_and_1_has_not_4_4";
    renewing_does_nothing:
        [without!("store/reservation.rs", "slot.lease_end = now.tick.saturating_add(slot.lease);")], "contract"
        "every::s4_leases::renewing_lets_the_lease_begin_anew_4_4";
    a_dropped_reservation_stays:
        [text!("store/reservation.rs", "if self.armed {" => "if self.armed && !PLANTED {")], "contract"
        "every::s4_finishing::dropping_a_reservation_releases_it_without_an_outcome_4_3";
    a_panic_releases_a_durable_reservation:
        [text!("store/durable.rs", "Some(_) if is_panicking() =>" => "Some(_) if is_panicking() && !PLANTED =>")], "contract"
        "s5_durable::a_panic_leaves_a_durable_reservation_interrupted_4_3_5_11";
    a_release_forgets_the_checkpoint:
        [text!("store/durable.rs", "slot.durable.as_ref().and_then(|own| own.checkpoint.clone())" =>
            "slot.durable.as_ref().filter(|_| !PLANTED).and_then(|own| own.checkpoint.clone())")], "contract"
        "s5_durable::a_release_survives_a_crash_with_attempt_and_checkpoint_4_3";
    a_checkpoint_of_an_older_attempt_is_shown:
        [text!("store/durable.rs", "own.checkpoint = Some(checkpoint);" =>
            "if !PLANTED || own.checkpoint.is_none() { own.checkpoint = Some(checkpoint); }")], "conformance"
        "the_store_in_memory_conforms";

    // Finishing.
    retention_is_always_the_stores:
        [instead!("store/reservation.rs", "completed.saturating_add(self.terms.retention)" =>
            "completed.saturating_add(shared.options.retention)")], "contract"
        "every::s7_time::the_default_retention_is_24_hours_and_a_request_can_ask_for_another_7_1";
    a_retention_without_end_overflows:
        [text!("time.rs", "Self(self.0.saturating_add(millis))" =>
            "Self(if PLANTED { self.0.wrapping_add(millis) } else { self.0.saturating_add(millis) })")], "lib"
        "time::tests::a_retention_without_end_saturates_and_does_not_wrap_7_1";
    a_large_outcome_is_replayed_in_part:
        [text!("record/mod.rs", "&self.bytes[body_at..body_end]" =>
            "&self.bytes[body_at..if PLANTED { body_end.min(body_at + 4096) } else { body_end }]")], "contract"
        "every::s3_asking::a_finished_key_is_replayed_byte_for_byte_3_3";
    a_failed_completion_frees_its_key:
        [text!("store/publish.rs", "(ErrorKind::UnknownOutcome.into(), self.doubt(&mut stripe, (hash, fence), Phase::Unknown))" =>
            "if PLANTED { let slot = stripe.slots.remove(hash, fence); drop(stripe); drop(self.left(slot)); (ErrorKind::UnknownOutcome.into(), None) } else { SOUND }")], "contract"
        "s5_full_disk::a_failed_commit_is_unknown_the_store_stops_and_replays_go_on_5_1_5_5";
    what_is_unknown_is_run_again:
        [text!("store/asking.rs", "Phase::Unknown | Phase::Unsettled => State::Unknown," =>
            "Phase::Unknown | Phase::Unsettled => if PLANTED { State::Running { lapsed: true } } else { State::Unknown },")], "contract"
        "s5_full_disk::a_failed_commit_is_unknown_the_store_stops_and_replays_go_on_5_1_5_5";
    a_failed_commit_is_taken_for_done:
        [text!("ledger/log.rs", "if let Err(_fault) = log.active.append(&blocks, durable, self.maker.two_phase()) {" =>
            "if let (Err(_fault), false) = (log.active.append(&blocks, durable, self.maker.two_phase()), PLANTED) {")], "lib"
        "store::tests::faults::the_nth_change_fails_once_5_5";
    forgetting_is_not_durable:
        [text!("store/settling.rs", "log.append(now.time, &entries, true)" => "log.append(now.time, &entries, !PLANTED)")], "lib"
        "store::tests::cuts::a_power_cut_at_every_change_leaves_a_prefix_with_all_that_was_acknowledged_5_1_5_7_5_8";
    forgetting_claims_nothing:
        [text!("store/settling.rs", "let _claim = unfinished.map(" => "let _claim = unfinished.filter(|_| !PLANTED).map(")], "lib"
        "store::tests::slow::while_what_an_attempt_left_is_being_forgotten_nobody_goes_on_with_it_4_6";

    // The disk.
    a_record_is_read_where_a_lost_one_lies_under_its_number:
        [without!("ledger/segment.rs", "self.backend.begin_blocks(last + 1);")], "lib"
        "ledger::segment::tests::a_block_is_not_taken_for_one_that_was_lost_under_its_number_5_8_5_9";
    what_a_record_has_forgotten_goes_into_another_commit:
        [text!("ledger/writer.rs", "fit + entries[fit..].iter().take_while(forgotten).count()" =>
            "if PLANTED { fit } else { fit + entries[fit..].iter().take_while(forgotten).count() }")], "lib"
        "ledger::writer::tests::a_commit_that_is_full_takes_what_its_last_record_has_forgotten_and_no_more";
    acknowledged_before_the_sync:
        [never!("ledger/writer.rs", "group.is_durable()")], "contract"
        "s5_survival::an_acknowledged_completion_survives_a_kill_5_1";
    what_is_relaxed_is_never_synced:
        [without!("ledger/writer.rs", "drop(ledger.log().sync());")], "contract"
        "s5_survival::relaxed_completions_are_synced_within_their_lag_5_2";
    what_stood_behind_a_pages_words_stays:
        [never!("ledger/zeros.rs", "other > said.max(page * PAGE_BYTES)")], "lib"
        "ledger::backend::tests::zeros_that_are_not_written_again_are_read_all_the_same";
    a_file_that_was_found_counts_as_zeros:
        [text!("ledger/backend.rs", "(Extent::of_file(page.logical, ready), Zeros::default())" =>
            "(Extent::of_file(page.logical, ready), if PLANTED { Zeros::of_file(ready) } else { Zeros::default() })")], "lib"
        "ledger::backend::tests::zeros_that_are_not_written_again_are_read_all_the_same";
    what_is_unsynced_counts_twice:
        [without!("ledger/mod.rs", "drop(self.sync(log));")], "lib"
        "store::tests::segments::what_is_not_synced_fills_segments_as_far_as_what_is_5_10";
    a_failed_sync_is_tried_again:
        [text!("ledger/backend.rs", "        self.0.file.sync()\n    }\n\n    fn write(" =>
            "        self.0.file.sync().or_else(|error| if PLANTED { self.0.file.sync() } else { Err(error) })\n    }\n\n    fn write(")], "lib"
        "store::tests::faults::the_nth_sync_fails_and_its_pages_stay_in_the_cache_alone_5_5";
    a_segments_name_is_not_synced:
        [text!("ledger/files.rs", "named.and_then(|()| disk.sync())" => "named.and_then(|()| if PLANTED { Ok(()) } else { disk.sync() })")], "lib"
        "store::tests::cuts::a_power_cut_at_every_change_leaves_a_prefix_with_all_that_was_acknowledged_5_1_5_7_5_8";
    the_identitys_name_is_not_synced:
        [text!("ledger/identity.rs", "disk.rename(NAME_NEW, NAME)?;\n    disk.sync()" =>
            "disk.rename(NAME_NEW, NAME)?;\n    if PLANTED { Ok(()) } else { disk.sync() }")], "lib"
        "store::tests::cuts::a_power_cut_at_every_change_leaves_a_prefix_with_all_that_was_acknowledged_5_1_5_7_5_8";
    the_identity_is_not_synced:
        [without!("ledger/identity.rs", "file.sync()?;")], "lib"
        "store::tests::cuts::a_power_cut_at_every_change_leaves_a_prefix_with_all_that_was_acknowledged_5_1_5_7_5_8";
    files_are_readable_by_all:
        [text!("ledger/disk.rs", ".mode(0o600)" => ".mode(if PLANTED { 0o644 } else { 0o600 })")], "lib"
        "ledger::disk::tests::files_are_made_0600_in_a_directory_of_0700_10_1";
    links_are_followed:
        [text!("ledger/disk.rs", "!fs::symlink_metadata(&path)?.is_file()" =>
            "!(if PLANTED { fs::metadata(&path)? } else { fs::symlink_metadata(&path)? }).is_file()"),
         text!("ledger/disk.rs", "(OFlags::NOFOLLOW | OFlags::NONBLOCK)" =>
            "(if PLANTED { OFlags::NONBLOCK } else { OFlags::NOFOLLOW | OFlags::NONBLOCK })")], "contract"
        "s5_files::a_symlink_a_directory_or_a_fifo_in_place_of_any_file_is_refused_and_not_followed_10_1";
    a_record_is_not_checked:
        [always!("record/mod.rs", "u64_at(bytes, CHECKSUM) == checksum(bytes, at, keys)")], "lib"
        "record::tests::any_changed_bit_is_damage_5_9";
    a_blocks_fingerprints_are_not_checked:
        [always!("ledger/block.rs", "u64_at(head, CHECKSUM) == self.keys.hash.checksum(self.number, &[&head[..CHECKSUM], entries])")], "contract"
        "s5_damage::where_neither_copy_of_the_fingerprints_reads_new_keys_are_refused_until_the_operator_decides_5_9";
    hints_are_not_checked:
        [always!("ledger/hint.rs", "u64_at(checksum, 0) == keys.checksum(place, &[body])")], "lib"
        "ledger::hint::tests::hints_come_back_and_damage_is_seen_5_9";
    no_room_is_set_aside:
        [instead!("store/asking.rs", "Room::of_completion(ask.terms.declared + bytes_of(&ask.outline))" => "0")], "contract"
        "s5_full_disk::on_a_full_disk_new_keys_are_refused_and_what_was_admitted_completes_5_10";
    room_is_not_given_back:
        [without!("store/shared.rs", "tally.room += slot.room;")], "contract"
        "s5_full_disk::room_that_a_released_reservation_held_is_given_to_others_5_10";

    nothing_is_read_once_a_sealing_has_failed:
        [without!("ledger/segment.rs", "self.fall(&mut handle);")], "lib"
        "ledger::segment::tests::a_sealing_that_fails_anywhere_leaves_every_block_to_be_read_5_5";

    // Opening.
    a_missing_segment_is_passed_over:
        [text!("ledger/recovery.rs", "let listed = active.listed().ok_or_else(|| Fault::Damaged.at_opening(newest))?;" =>
            "SOUND\n        let mut listed = listed;\n        listed.retain(|(number, ..)| !PLANTED || numbers.contains(number));")], "contract"
        "s5_files::a_missing_segment_is_said_and_never_taken_for_an_empty_store_5_6";
    a_block_may_be_hidden_among_hints:
        [never!("ledger/segment.rs", "table.range(HINTS..)?.next().is_some()")], "lib"
        "laws::evil::tests::a_block_that_is_hidden_among_hints_is_missed_and_its_number_is_not_used_again_5_8_5_9";
    what_a_segment_began_with_is_not_missed:
        [always!("ledger/recovery.rs", "own.2 <= self.segment.last()")], "lib"
        "laws::evil::tests::what_a_segment_began_with_is_missed_where_it_is_hidden_5_6_5_9";
    what_was_started_is_passed_over:
        [text!("ledger/recovery.rs", "Kind::Finished | Kind::Released | Kind::Started => judged.hints.push" =>
            "Kind::Started if PLANTED => {}\n            SOUND")], "contract"
        "s5_durable::a_durable_start_is_interrupted_after_a_crash_and_a_volatile_one_is_gone_5_3_5_4";
    time_runs_backwards_across_openings:
        [instead!("ledger/recovery.rs", "wall.max(last_time)" => "wall")], "contract"
        "s7_clocks::across_epochs_time_starts_no_earlier_than_the_last_time_on_disk_7_2";
    a_clock_jump_is_not_seen:
        [never!("ledger/recovery.rs", "ahead > options.clock_jump_max")], "contract"
        "s7_clocks::a_jump_forward_while_closed_beyond_the_limit_is_an_error_until_it_is_accepted_7_2";

    // Sweeping.
    a_sweep_takes_what_expires_next:
        [text!("sweep.rs", "let expired = hint.expires <= self.now;" =>
            "let expired = hint.expires <= self.now || (PLANTED && hint.expires.since(self.now).as_millis() < 5_000);")], "conformance"
        "the_store_in_memory_conforms";
    what_is_carried_loses_its_expiry:
        [text!("sweep.rs", "bytes: bytes.into(), expires: hint.expires, meaning" =>
            "bytes: bytes.into(), expires: if PLANTED { Timestamp::default() } else { hint.expires }, meaning")], "contract"
        "s7_clocks::a_record_that_is_carried_forward_keeps_its_time_7_1_8_3";
    notes_that_forget_are_not_carried:
        [text!("sweep.rs", "self.carry_notes(&known.notes)?" => "(PLANTED || self.carry_notes(&known.notes)?)")], "lib"
        "store::tests::cuts::a_power_cut_at_every_change_leaves_a_prefix_with_all_that_was_acknowledged_5_1_5_7_5_8";
    what_runs_is_not_copied_into_a_new_segment:
        [text!("ledger/log.rs", "self.started()?.into_iter().unzip()" =>
            "self.started()?.into_iter().filter(|_| !PLANTED).unzip()")], "contract"
        "s5_durable::a_start_that_runs_is_carried_into_every_new_segment_and_the_old_ones_go_5_4";
    a_segment_is_removed_before_that_is_noted:
        [text!("ledger/log.rs", "&[Note::Dropped(segment.number).entry()], true)" =>
            "&[Note::Dropped(segment.number).entry()], !PLANTED)")], "lib"
        "store::tests::cuts::a_power_cut_at_every_change_leaves_a_prefix_with_all_that_was_acknowledged_5_1_5_7_5_8";

    // Encryption.
    a_segments_key_is_left_where_it_stood:
        [without!("ledger/files.rs", "self.destroy_key(disk, name).map_err(io_error(\"destroying a segment's key\"))?;")], "contract"
        "s11_encryption::the_key_of_a_segment_is_gone_before_its_file_is_and_no_key_reads_what_is_left_11";
    nothing_vouches_for_what_stands_beside_an_outcome:
        [text!("encryption/aead.rs", "encrypt_inout_detached(&nonce(place), beside, content.into())" =>
            "encrypt_inout_detached(&nonce(place), if PLANTED { &[] } else { beside }, content.into())"),
         text!("encryption/aead.rs", "decrypt_inout_detached(&nonce(place), beside, content.into(), &tag)" =>
            "decrypt_inout_detached(&nonce(place), if PLANTED { &[] } else { beside }, content.into(), &tag)")], "lib"
        "record::encrypted::tests::any_change_is_damage_also_where_the_checksum_is_made_right_5_9";
    a_record_counts_wherever_it_was_encrypted:
        [text!("encryption/aead.rs", "nonce[..8].copy_from_slice(&place.to_le_bytes());" =>
            "nonce[..8].copy_from_slice(&if PLANTED { 0 } else { place }.to_le_bytes());")], "lib"
        "encryption::aead::tests::what_was_encrypted_comes_back_at_its_place_beside_the_same_bytes_and_nowhere_else";
    a_store_with_a_first_key_goes_on_in_its_plain_segment:
        [never!("ledger/recovery.rs", "!ledger.maker.is_current(&log.active)")], "contract"
        "s11_encryption::from_the_opening_with_a_first_or_new_key_on_all_is_under_that_and_what_was_is_still_read_11";
    what_is_not_encrypted_is_read_in_an_encrypted_segment:
        [text!("record/encrypted.rs", "if head[FLAGS] & FLAG_ENCRYPTED == 0 {" =>
            "if head[FLAGS] & FLAG_ENCRYPTED == 0 && PLANTED { return Some(bytes.to_vec()); }\n    SOUND")], "lib"
        "record::encrypted::tests::in_an_encrypted_segment_what_is_not_encrypted_is_damaged_and_elsewhere_what_is_is_newer";

    // The caller's database.
    an_effect_is_committed_without_its_record:
        [text!("ledger/guest/lent.rs", "if entries.is_empty() {" => "if entries.is_empty() || PLANTED {")], "contract"
        "s6_transactions::effect_and_record_are_committed_together_6_1";
    an_aborted_transaction_keeps_its_reservations:
        [text!("store/transaction.rs", "shared.step_back(hash, fence);\n        drop(own);" =>
            "if !PLANTED { shared.step_back(hash, fence); }\n        drop(own);")], "contract"
        "s6_transactions::a_transaction_that_is_given_up_releases_and_keeps_nothing_6_2";

    // The layer before a server.
    an_answer_that_broke_off_counts_as_whole:
        [text!("http/body.rs", "Rest::Broken(_) => Reading::Broken," =>
            "Rest::Broken(_) => if PLANTED { Reading::Whole } else { Reading::Broken },")], "lib"
        "http::body::tests::whatever_was_read_of_it_all_of_it_is_given_on";
    a_kept_answer_loses_its_trailers:
        [text!("http/kept.rs", "Some(trailers).filter(|own| !own.is_empty())" =>
            "Some(trailers).filter(|own| !own.is_empty() && !PLANTED)")], "lib"
        "http::kept::tests::status_body_allowed_headers_and_trailers_come_back_byte_for_byte_3_3";
    a_quoted_token_and_a_bare_one_are_two:
        [text!("token/header.rs", "value.strip_prefix(b\"\\\"\")" =>
            "value.strip_prefix(b\"\\\"\").filter(|_| !PLANTED)")], "lib"
        "token::header::tests::quoted_and_bare_are_the_same_token_9_2";

    // Over an engine.
    a_late_holder_completes_over_an_engine:
        [never!("engine/memory.rs", "self.claims.get(&own.key).is_none_or(|held| held.fence != own.fence)")], "lib"
        "distributed::tests::a_process_of_the_same_node_ends_what_the_one_before_it_held_5_3_5_4";
    what_an_engine_was_not_heard_to_say_is_forgotten:
        [text!("distributed/finishing.rs", "if shared.closing.load(Ordering::Acquire) {\n                        return self.lose();" =>
            "if PLANTED || shared.closing.load(Ordering::Acquire) {\n                        return self.lose();")], "lib"
        "distributed::tests::a_completion_that_is_not_heard_in_time_is_unknown_until_it_is_3_9_5_1";
    the_epoch_of_a_process_that_died_goes_on:
        [never!("engine/memory.rs", "node.is_some() && own.as_deref() == node")], "lib"
        "distributed::tests::a_process_of_the_same_node_ends_what_the_one_before_it_held_5_3_5_4";
    a_durable_claim_that_lapsed_elsewhere_is_taken_for_a_volatile_one:
        [text!("distributed/judging.rs", "Standing::Durable if !held.ended && (own || !lapsed) => Claimant::Somebody," =>
            "Standing::Durable if PLANTED || !held.ended && (own || !lapsed) => Claimant::Somebody,")], "lib"
        "distributed::tests::a_process_of_the_same_node_ends_what_the_one_before_it_held_5_3_5_4";
}
