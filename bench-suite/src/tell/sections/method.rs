//! How it was measured, and in which environment.

use crate::tell::document::{Block, Cell, Section, Table};
use crate::tell::estimate::{FLOOR, MIN_ROUNDS, SAME};
use crate::tell::report::{Report, Rounds};
use crate::tell::stats::quantile;

/// Threads that really worked, over threads asked for: the median over all measurements.
fn threads_seen(report: &Report) -> Option<f64> {
    let mut shares: Vec<f64> =
        report.measurements.iter().filter_map(|m| Some(m.cpu_over_wall? / m.threads as f64)).collect();
    shares.sort_by(f64::total_cmp);
    (!shares.is_empty()).then(|| quantile(&shares, 0.5))
}

/// What a reader must know before believing a number.
pub(super) fn warnings(report: &Report) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(share) = threads_seen(report).filter(|share| *share < 0.9) {
        warnings.push(format!(
            "The machine was busy: a thread got {:.0} % of a core (processor time over wall time). Medians are unreliable, \
             minima less so; measure again when it is idle.",
            100.0 * share
        ));
    }
    let of = |count: fn(&Rounds) -> usize| report.machine.rounds.iter().map(count).sum::<usize>();
    let (kept, disturbed) = (of(|rounds| rounds.kept), of(|rounds| rounds.disturbed));
    if 2 * disturbed > kept {
        warnings.push(format!(
            "The machine was not quiet: it was disturbed in {:.0} % of the rounds that were kept. Intervals are wide, and \
             what they do not tell apart may be told apart on a quiet machine.",
            100.0 * disturbed as f64 / kept as f64
        ));
    }
    if report.environment.opt_level != "3" {
        warnings.push(format!("Built with opt-level {}: use --release.", report.environment.opt_level));
    }
    if report.environment.denormals.results_flushed || report.environment.denormals.operands_zeroed {
        warnings.push("Denormal numbers are flushed to zero in this process.".into());
    }
    warnings
}

pub(super) fn section(report: &Report) -> Section {
    let (env, settings) = (&report.environment, &report.settings);
    let mut table = Table::new("environment", "Environment");
    let yes = |flag: bool| if flag { "yes" } else { "no" };
    let mut row =
        |what: &str, value: String| table.row([("what", Cell::text(what)), ("value", Cell::text(value))]);
    row("processor", env.cpu.clone());
    row("threads available", env.cores.to_string());
    let caches: Vec<String> = env
        .caches
        .iter()
        .map(|c| format!("L{} {} KiB, shared by {}", c.level, c.bytes >> 10, c.shared_by))
        .collect();
    row("data caches", if caches.is_empty() { "unknown".into() } else { caches.join("; ") });
    row("virtual machine", env.virtualised.map_or("unknown", yes).into());
    row("frequency governor", env.governor.clone().unwrap_or_else(|| "unknown".into()));
    row("load at the start", env.load.map_or("unknown".into(), |load| format!("{load:.2}")));
    row("system", env.system.clone());
    row("compiler", env.rustc.clone());
    row("target", format!("{}, opt-level {}", env.target, env.opt_level));
    row("RUSTFLAGS", if env.rustflags.is_empty() { "none".into() } else { env.rustflags.clone() });
    row("compiled for", env.target_features.join(" "));
    row("instruction set of the kernels", format!("{}, chosen at run time", settings.isa));
    row("threads", settings.threads.to_string());
    row(
        "processor time over wall time, per thread",
        threads_seen(report).map_or("unknown".into(), |share| format!("{share:.2} (median)")),
    );
    row("threads bound to cores", yes(settings.pinned).into());
    row("denormal results flushed to zero", yes(env.denormals.results_flushed).into());
    row("denormal operands taken as zero", yes(env.denormals.operands_zeroed).into());
    row("date", env.date.clone());
    row("bench-suite", format!("{}, {} run of {} s", env.version, settings.mode, settings.seconds));
    let checked = if settings.mode == "full" {
        "at the size that is timed"
    } else {
        "at the size that is timed where it consists of 1x1 convolutions, else with the same weights on a map of a quarter of \
         the side (the full run checks everything at full size)"
    };
    let blocks = vec![
        Block::Text(
            "FLOP means two per multiply-add, and macs means multiply-adds of convolutions and fully connected layers. \
             mac_bytes is what the paper calls MAC, memory access cost: every input, output and weight counted once, times four \
             bytes, from shapes alone; what passes between operations that run as one is not counted. bound is the paper's lower bound on it for layers of the same FLOPs, its equation 1, \
             summed over the layers (a k x k kernel divides its square root by k)."
                .into(),
        ),
        Block::Text(
            "Variants that are compared are timed in rounds: every round takes one sample of each, right after a run of it that \
             is not counted (unless a run takes 30 ms or more), and each round begins with another. Samples of less than 0.2 \
             ms average several runs, and one of less than 10 ms during which the program had to wait for a processor is taken \
             again. Weights and images are random numbers of ordinary size, activations neither grow nor \
             vanish. Ratios and rates are of minima; medians and percentiles are in the tables."
                .into(),
        ),
        Block::Text(format!(
            "Intervals: from the rounds, 400 random halves are drawn, and every ratio is computed from the minima of each half \
             instead of all; things that were timed in the same rounds lose the same rounds. The interval reaches to both sides as \
             far as 95 % of the halves lie away: where half of the rounds miss a minimum by so much, all of them may still miss the \
             undisturbed time by as much. It reaches {:.0} % at least, since code and data lie elsewhere in memory in the next run. A \
             mean over columns is computed within each half. Fewer than {MIN_ROUNDS} rounds give no interval. A verdict is given only \
             where the whole interval agrees with it: more than {:.0} % slower, more than {:.0} % faster, or less than that to either \
             side, which makes no difference; all else is not told apart.",
            100.0 * FLOOR,
            100.0 * SAME,
            100.0 * SAME
        )),
        Block::Text(format!(
            "Nothing is timed whose answer is wrong: each experiment, network and layer is first held against its twin, the \
             naive f64 loops of kernels::reference, {checked}. ShuffleNetV2 is held against PyTorch in the \
             tests of the model crate."
        )),
        Block::Text(
            "A full run also asks valgrind's cache simulation, where it is installed, how many bytes some of the experiments \
             really move into caches of this machine's size. It knows no prefetching, and runs the AVX2 kernels."
                .into(),
        ),
        Block::Table(table),
    ];
    Section { id: "method".into(), title: "Method and environment".into(), blocks }
}
