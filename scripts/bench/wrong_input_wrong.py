"""List the wrong inputs: name, base, how each is made, and the words that name its cause."""

from __future__ import annotations

import wrong_input_cases as make
from wrong_input_captures import Draft
from wrong_input_cases import KEYPOINTS_ONLY, Case, Edit

RIGHT_HAND = ("--hands", "right")


def from_pixels(name: str, base: str, edit: Edit, *words: str, options: tuple[str, ...] = ()) -> Case:
    """Make a case for the default detector; its kind is the first word."""
    return Case(f"{name}_mp", words[0], base, edit, words, None, options)


def from_keypoints(
    name: str, base: str, edit: Edit, *words: str, files: str = "jsonl", options: tuple[str, ...] = ()
) -> Case:
    """Make a case for keypoint files; its kind is the first word."""
    return Case(name, words[0], base, edit, words, files, (*KEYPOINTS_ONLY, *options))


def nothing(draft: Draft) -> None:
    """Change nothing."""


WRONG: tuple[Case, ...] = (
    # pictures turned
    from_pixels("mirrored_one_of_four", "four_room", make.turn("mirrored", "cam_1"), "mirrored"),
    from_pixels("mirrored_one_of_two", "two", make.turn("mirrored", "cam_1"), "mirrored"),
    from_keypoints("mirrored_one_of_four", "four", make.turn("mirrored", "cam_2"), "mirrored"),
    from_keypoints("mirrored_one_of_eight", "eight", make.turn("mirrored", "cam_5"), "mirrored"),
    from_keypoints("mirrored_all_of_four", "four", make.turn("mirrored"), "mirrored"),
    from_keypoints("flipped_one_of_four", "four", make.turn("flipped", "cam_0"), "mirrored", "upside down"),
    from_pixels("upside_down_one_of_four", "four_room", make.turn("turned_180", "cam_2"), "upside down"),
    from_keypoints("upside_down_one_of_four", "four", make.turn("turned_180", "cam_3"), "upside down"),
    from_keypoints("upside_down_one_of_eight", "eight", make.turn("turned_180", "cam_0"), "upside down"),
    from_pixels("rotated_square_one_of_four", "square", make.turn("turned_90", "cam_1"), "rotated"),
    from_keypoints("rotated_square_other_way", "square", make.turn("turned_270", "cam_3"), "rotated"),
    from_keypoints("rotated_one_of_four", "four", make.turn("turned_90", "cam_2"), "rotated"),
    from_keypoints("rotated_unknown_to_calibration", "four", lambda d: d.change("cam_1", turn="turned_270"), "rotated"),
    # cameras exchanged
    from_pixels("calibrations_exchanged", "four_room", make.exchange_calibrations("cam_0", "cam_2"), "exchanged"),
    from_keypoints("calibrations_exchanged", "four", make.exchange_calibrations("cam_1", "cam_2"), "exchanged"),
    from_keypoints(
        "calibrations_exchanged_of_eight", "eight", make.exchange_calibrations("cam_3", "cam_7"), "exchanged"
    ),
    from_pixels("calibrations_exchanged_of_two", "two", make.exchange_calibrations("cam_0", "cam_1"), "exchanged"),
    from_keypoints("videos_exchanged", "four", make.exchange_videos("cam_0", "cam_3"), "exchanged"),
    from_keypoints("named_by_order", "four", make.named_by_order, "exchanged"),
    from_keypoints("same_video_twice", "four", make.same_video("cam_2", "cam_1"), "duplicates", "exchanged"),
    # clocks
    from_pixels("late_by_5", "four_room", make.late(5, "cam_1"), "late"),
    from_pixels("late_by_3_fast", "four_fast", make.late(3, "cam_2"), "late"),
    from_keypoints("late_by_1", "four", make.late(1, "cam_0"), "late"),
    from_keypoints("late_by_2", "four", make.late(2, "cam_3"), "late"),
    from_keypoints("early_by_3", "eight", make.late(-3, "cam_6"), "late"),
    from_keypoints("late_by_4_of_two", "two", make.late(4, "cam_1"), "late"),
    from_keypoints("late_by_3_of_three", "three", make.late(3, "cam_1"), "late"),
    from_keypoints("wrong_frame_offset", "four", make.setting("cam_1", frame_offset=3), "offset"),
    from_keypoints("wrong_negative_offset", "eight", make.setting("cam_2", frame_offset=-4), "offset"),
    from_pixels("half_rate_same_header", "four_fast", make.half_rate("cam_1", 30.0), "rate"),
    from_keypoints("half_rate_same_header", "four", make.half_rate("cam_2", 30.0), "rate"),
    from_keypoints("half_rate_true_header", "four", make.half_rate("cam_2", 15.0), "rate"),
    from_keypoints("half_rate_true_header_of_eight", "eight", make.half_rate("cam_4", 15.0), "rate"),
    from_keypoints("gap_with_times", "four", make.gap("cam_1", 6, 3, True), "gap"),
    from_keypoints("gap_with_times_of_eight", "eight", make.gap("cam_7", 4, 2, True), "gap"),
    from_keypoints("gap_rewritten", "four", make.gap("cam_3", 5, 4, False), "gap", "late"),
    from_keypoints("one_video_short", "four", make.shorten("cam_2", 12), "shorter"),
    from_keypoints("one_video_without_its_start", "four", make.shorten("cam_1", 14, 6), "late"),
    # folders of pictures
    from_keypoints("folder_with_a_hole", "four", make.holes({"cam_1": (7,)}), "holes"),
    from_keypoints(
        "folders_with_other_holes",
        "four",
        make.holes({"cam_0": (3, 4), "cam_1": (8, 9), "cam_2": (2, 12), "cam_3": (5, 6)}),
        "holes",
    ),
    from_pixels("folders_with_holes", "four_room", make.holes({"cam_1": (3, 4), "cam_3": (7,)}, ".png"), "holes"),
    from_keypoints("folder_numbered_from_one", "four", make.off_by_one, "holes", "late"),
    from_keypoints("jpg_and_png", "four", make.duplicates, "duplicates"),
    from_pixels("jpg_and_png", "two", make.duplicates, "duplicates"),
    # pictures that show nothing
    from_keypoints("all_black", "four", make.painted(0), "no contrast"),
    from_keypoints("all_grey", "eight", make.painted(128), "no contrast"),
    from_keypoints("one_black", "four", make.painted(0, "cam_2"), "no contrast"),
    # units
    from_pixels("unit_1.3", "four_room", nothing, "unit", options=("--metres-per-unit", "1.3")),
    from_keypoints("unit_0.7", "four", nothing, "unit", options=("--metres-per-unit", "0.7")),
    from_keypoints("unit_10", "eight", nothing, "unit", options=("--metres-per-unit", "10")),
    from_keypoints("unit_1.3_of_two", "two", nothing, "unit", options=("--metres-per-unit", "1.3")),
    from_keypoints("centimetres", "four", make.scaled(0.01), "unit"),
    from_keypoints("millimetres", "four", make.scaled(1000.0), "unit"),
    from_pixels("centimetres", "two", make.scaled(100.0), "unit"),
    # calibrations
    from_pixels("inverted_all", "four_room", make.invert_extrinsics(), "inverted"),
    from_keypoints("inverted_all", "four", make.invert_extrinsics(), "inverted"),
    from_keypoints("inverted_one", "eight", make.invert_extrinsics("cam_2"), "inverted"),
    from_pixels("bumped", "four_room", make.bump("cam_3", 3.0, 1), "moved"),
    from_keypoints("bumped", "four", make.bump("cam_0", 3.0, 0), "moved"),
    from_keypoints("bumped_of_eight", "eight", make.bump("cam_1", 3.0, 2), "moved"),
    from_keypoints("shifted_by_8_cm", "four", make.shift("cam_1", 0.08), "moved"),
    from_keypoints("intrinsics_of_another", "four", make.zoom(1.3, "cam_2"), "intrinsics", "moved"),
    from_pixels("intrinsics_of_another", "two_room", make.zoom(0.75, "cam_0"), "intrinsics", "moved"),
    from_keypoints("calibrated_at_twice_the_size", "four", make.other_size(960, 720), "intrinsics"),
    from_keypoints("calibrated_at_another_aspect", "four", make.other_size(640, 360, "cam_1"), "rotated", "intrinsics"),
    # keypoint files and settings
    from_keypoints(
        "missing_as_minus_one",
        "eight",
        make.spoil(make.hidden_tips),
        "missing keypoints",
        files="plain array",
        options=RIGHT_HAND,
    ),
    from_keypoints("normalised", "four", make.spoil(make.normalised), "normalised"),
    from_keypoints(
        "normalised_array",
        "eight",
        make.spoil(make.normalised),
        "normalised",
        files="array",
        options=RIGHT_HAND,
    ),
    from_keypoints(
        "keypoints_exchanged", "four", make.keypoints_of(cam_0="cam_1", cam_1="cam_0"), "keypoints of another"
    ),
    from_keypoints("keypoints_of_another", "eight", make.keypoints_of(cam_3="cam_4"), "keypoints of another"),
    from_pixels("named_left_is_right", "two", make.setting(None, hands="left"), "side"),
    from_keypoints("named_left_is_right", "eight", nothing, "side", files="array", options=("--hands", "left")),
    from_keypoints("video_truncated", "four", make.truncate("cam_2", 0.6), "damaged"),
    from_keypoints("video_not_calibrated", "four", make.with_extra_video, "uncalibrated"),
)
