"""What went by while too few pictures were taken is not seen, and nothing is pushed beside it."""

from edge.blind import ENOUGH, BlindStretches


def watched(*positions_mm: float, half_mm: float = 400) -> BlindStretches:
    blind = BlindStretches()
    for position in positions_mm:
        blind.saw(position, half_mm)
    return blind


def test_a_belt_seen_often_enough_has_no_blind_stretch() -> None:
    assert not watched(*range(0, 5000, 200)).meet(0, 5000)
    assert not watched(0, 10, 20, 30, 500, 510, 520, 530).meet(-400, 900), "a gap shorter than the picture"


def test_what_went_by_between_pictures_that_lie_too_far_apart_is_not_seen() -> None:
    blind = watched(0, 10, 20, 30, 1530, 1540, 1550, 1560)
    # Up to 420 mm three pictures saw it, and from 1150 mm on three others.
    assert blind.meet(900, 910)
    assert blind.meet(415, 425)
    assert blind.meet(1140, 1160)
    assert not blind.meet(300, 400)
    assert not blind.meet(1200, 1500)


def test_a_belt_that_turns_back_or_stands_makes_no_stretch_blind() -> None:
    assert not watched(0, 300, 600, 500, 400, 100, 100, 100, 400, 700).meet(-400, 1100)


def test_too_few_pictures_at_speed_leave_everything_between_unseen() -> None:
    blind = watched(*range(0, 6000, 400))
    assert ENOUGH == 3
    assert blind.meet(2000, 2010)


def test_what_had_only_begun_to_come_in_when_the_pictures_stopped_is_not_seen_until_they_end_for_good() -> None:
    blind = watched(0, 10, 20, half_mm=100)
    # Three pictures show what lies up to 100 mm, two of them up to 110.
    assert blind.upstream(105)
    assert not blind.upstream(95)
    blind.saw(30, 100)
    assert not blind.upstream(105)
    for position in (20, 10, 0):
        blind.saw(position, 100)
    assert not blind.upstream(105), "a belt that turns back hides nothing that was seen"
    blind.ended()
    assert not blind.upstream(1e9)
    assert not watched().upstream(0), "where nobody looks for items, none is waited for"
