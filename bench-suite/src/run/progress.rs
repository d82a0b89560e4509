//! How far a run is: a bar on a terminal with what is measured and how much time is left; elsewhere a line per section.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Steps of the bar.
const STEPS: f64 = 1000.0;

pub(crate) struct Progress {
    /// Only on a terminal.
    bar: Option<ProgressBar>,
    begun: Instant,
    /// How long it takes where nothing disturbs.
    planned: Duration,
    /// The share that is behind us.
    done: f64,
    what: String,
}

impl Progress {
    pub(crate) fn new(planned: Duration) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(STEPS as u64), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}");
            bar.set_style(style.expect("a valid template"));
            bar
        });
        Self { bar, begun: Instant::now(), planned, done: 0.0, what: String::new() }
    }

    /// A section begins.
    pub(crate) fn begin(&mut self, what: &str) {
        self.what = what.to_owned();
        match &self.bar {
            Some(bar) => {
                bar.set_message(self.message());
                bar.tick();
            }
            // Where even this cannot be written, nobody is listening.
            None => {
                let _ = writeln!(std::io::stderr(), "{:>3.0} %  {}", 100.0 * self.done, self.message());
            }
        }
    }

    /// So much of the whole is behind us.
    pub(crate) fn set(&mut self, done: f64) {
        self.done = done;
        if let Some(bar) = &self.bar {
            bar.set_position((done * STEPS) as u64);
            bar.set_message(self.message());
        }
    }

    pub(crate) fn done(&self) -> f64 {
        self.done
    }

    pub(crate) fn tick(&self) {
        if let Some(bar) = &self.bar {
            bar.tick();
        }
    }

    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn message(&self) -> String {
        let left = left(self.planned, self.begun.elapsed(), self.done);
        format!("{} ({} left)", self.what, shown(left))
    }
}

/// What is left of the plan, stretched as what is behind us was stretched.
fn left(planned: Duration, elapsed: Duration, done: f64) -> Duration {
    let behind = planned.mul_f64(done);
    // The first seconds tell little.
    let stretch = if done < 0.05 { 1.0 } else { elapsed.as_secs_f64() / behind.as_secs_f64() };
    planned.mul_f64((1.0 - done).max(0.0)).mul_f64(stretch.clamp(0.2, 50.0))
}

/// `about 40 s`, `about 3 min`.
fn shown(left: Duration) -> String {
    match left.as_secs() {
        seconds @ 0..10 => format!("about {} s", seconds.max(1)),
        seconds @ 10..90 => format!("about {} s", seconds.next_multiple_of(5)),
        seconds => format!("about {} min", (seconds + 30) / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_stretches_as_what_is_behind() {
        let seconds = Duration::from_secs;
        assert_eq!(left(seconds(100), seconds(3), 0.0), seconds(100));
        assert_eq!(left(seconds(100), seconds(100), 0.5), seconds(100));
        assert_eq!(left(seconds(100), seconds(60), 1.0), seconds(0));
    }

    #[test]
    fn times_are_round() {
        let shown = |seconds| shown(Duration::from_secs(seconds));
        assert_eq!(
            [0, 7, 42, 90, 200].map(shown),
            ["about 1 s", "about 7 s", "about 45 s", "about 2 min", "about 3 min"]
        );
    }
}
