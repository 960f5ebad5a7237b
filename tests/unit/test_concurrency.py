"""How many requests may be under way, by what answers teach."""

import math

from worker.core.pacing import (
    ConcurrencyPace,
    RatePace,
    SendMeter,
)


class TestConcurrency:
    """Requests under way."""

    def test_half_of_what_was_under_way(self):
        """A push-back leaves half of the requests that were under way, and one at least."""
        pace = ConcurrencyPace(16)
        pace.cut(9)
        assert pace.limit == 4.0
        for _ in range(3):
            pace.cut(9)
        assert pace.limit == 1.0

    def test_one_more_after_two_rounds(self):
        """Four at once: after eight successes five, then ten more for the sixth."""
        pace = ConcurrencyPace(16)
        pace.cut(8)
        limits = []
        for _ in range(18):
            pace.grow(4)
            limits.append(pace.limit)
        assert limits == [4.0] * 7 + [5.0] * 10 + [6.0]

    def test_up_to_the_ceiling(self):
        """It grows as far as it may."""
        pace = ConcurrencyPace(3)
        pace.cut(2)
        for _ in range(100):
            pace.grow(3)
        assert (pace.limit, pace.is_free) == (3.0, True)

    def test_what_is_not_used_does_not_grow(self):
        """Two under way say nothing about five."""
        pace = ConcurrencyPace(16)
        pace.cut(10)
        for _ in range(100):
            pace.grow(2)
        assert pace.limit == 5.0

    def test_half_of_it_is_use_enough(self):
        """Two of four under way, and answered, say that four are bearable."""
        pace = ConcurrencyPace(16)
        pace.cut(8)
        for _ in range(8):
            pace.grow(2)
        assert pace.limit == 5.0

    def test_one_answer_moves_what_is_recent_more_than_what_is_usual(self):
        """A tenth of the way lately, and two in a thousand in the long run."""
        pace = ConcurrencyPace(16, usual_s=1.0, recent_s=2.0)
        pace.answered(4.0)
        assert math.isclose(2.2, pace.recent_s)
        assert math.isclose(1.006, pace.usual_s)

    def test_slow_is_far_slower_than_usual(self):
        """Half a second more and three times the usual is slow; either alone is not."""
        for usual_s, recent_s, expected in ((0.05, 1.0, True), (0.05, 0.4, False), (2, 4, False)):
            pace = ConcurrencyPace(16, usual_s=usual_s, recent_s=recent_s)
            assert pace.is_slow == expected

    def test_slowness_stops_growth(self):
        """As long as answers are slow there are no more at once."""
        pace = ConcurrencyPace(16, usual_s=0.05, recent_s=1.0)
        pace.cut(2)
        for _ in range(100):
            pace.grow(2)
        assert pace.limit == 1.0

    def test_what_lasts_becomes_usual(self):
        """Twenty times the usual is slow for some hundred answers, and then it is the usual."""
        pace = ConcurrencyPace(16)
        pace.answered(0.05)
        slow = 0
        for _ in range(1000):
            pace.answered(1.0)
            slow += pace.is_slow
        assert 150 < slow < 400

    def test_health_is_believed_at_once(self):
        """A server that got well is measured by its health within a few answers."""
        pace = ConcurrencyPace(16, usual_s=1.0, recent_s=0.5)
        pace.answered(0.4)
        assert pace.recent_s == pace.usual_s < 0.5
        pace = ConcurrencyPace(16, usual_s=1.0, recent_s=1.0)
        for _ in range(40):
            pace.answered(0.05)
        assert pace.usual_s < 0.15


class TestTakingBack:
    """Cuts that had another reason than load."""

    def test_rate_and_concurrency_are_what_they_were(self):
        """All cuts are taken back at once."""
        rate, concurrency = RatePace(100.0), ConcurrencyPace(16)
        for now_s in (1.0, 2.0):
            rate.refused(now_s, math.inf, now_s)
            concurrency.cut(16)
        assert (rate.rate, concurrency.limit) == (25.0, 4.0)
        rate.take_back_cuts()
        concurrency.take_back_cuts()
        assert (rate.rate, concurrency.limit) == (100.0, 16)

    def test_what_was_right_stays(self):
        """A cut after which the request was answered is not taken back later."""
        rate, concurrency = RatePace(100.0), ConcurrencyPace(16)
        rate.refused(1.0, math.inf, 1.0)
        concurrency.cut(16)
        rate.confirm_cut(50.0)
        concurrency.confirm_cut(8.0)
        rate.refused(2.0, math.inf, 2.0)
        concurrency.cut(16)
        rate.take_back_cuts()
        concurrency.take_back_cuts()
        assert (rate.rate, concurrency.limit) == (50.0, 8.0)

    def test_never_above_the_ceiling(self):
        """A ceiling that was lowered meanwhile counts."""
        rate = RatePace(100.0)
        rate.refused(1.0, math.inf, 1.0)
        rate.set_ceiling(60.0)
        rate.take_back_cuts()
        assert rate.rate == 60.0


class TestMeter:
    """What was sent lately."""

    def test_nothing_is_known_at_first(self):
        """Before a request, and for the first moments, the rate is unknown."""
        meter = SendMeter()
        assert math.inf == meter.per_second(5.0, 0)
        meter.mark(5.0, 1)
        assert math.inf == meter.per_second(5.05, 3)

    def test_the_last_seconds_count(self):
        """A change of pace shows after a second or two."""
        meter, now_s = SendMeter(), 0.0
        for sent in range(1, 101):
            now_s = sent * (0.1 if sent <= 50 else 0.02) + (0 if sent <= 50 else 4.0)
            if now_s >= meter.due_s:
                meter.mark(now_s, sent)
        assert math.isclose(50.0, meter.per_second(now_s + 1.0, 150), rel_tol=0.35)

    def test_a_pause_does_not_count(self):
        """Measuring begins anew when a pause is over."""
        meter = SendMeter()
        meter.mark(0.0, 1)
        meter.restart(60.0, 10)
        assert (meter.per_second(61.0, 30), meter.due_s) == (20.0, 61.0)

    def test_ten_requests_make_a_mark(self):
        """What was sent is counted from a mark that is at least ten requests old."""
        meter = SendMeter()
        meter.mark(0.0, 1)
        assert meter.due_s == 1.0
        for now_s, sent, expected in (
            (1.0, 3, 3.0),
            (2.0, 12, 6.0),
            (4.0, 16, 4.0),
            (5.0, 22, 10 / 3),
        ):
            meter.mark(now_s, sent)
            assert math.isclose(expected, meter.per_second(now_s, sent))

    def test_few_in_a_long_time_and_many_in_a_moment(self):
        """Either is a measurement: enough time, or enough requests."""
        meter = SendMeter()
        meter.mark(0.0, 1)
        assert meter.per_second(2.0, 5) == 2.5
        assert meter.per_second(0.05, 20) == 200.0
