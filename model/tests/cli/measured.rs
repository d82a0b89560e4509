//! `shufflenet summary`, `bench` and `profile`.

use crate::{files, finish, run, scratch};
use kernels::Isa;
use model::{Config, Network, Synthetic, WIDTHS, Wiring};
use serde_json::Value;

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&run(args).good()).expect("JSON")
}

fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or_else(|| panic!("{name} in {value}"))
}

#[test]
fn summaries_have_the_counts_of_the_frameworks() {
    let counts = [
        (
            "torchvision",
            ["1,366,792", "2,278,604", "3,503,624", "7,393,996"],
            ["40,476,448", "144,907,992", "295,759,392", "583,253,464"],
        ),
        (
            "megvii",
            ["1,365,792", "2,278,760", "3,506,720", "7,402,600"],
            ["40,476,448", "145,814,296", "298,970,656", "590,783,000"],
        ),
        (
            "keras",
            ["1,368,648", "2,284,574", "3,513,224", "7,406,686"],
            ["40,476,448", "144,907,992", "295,759,392", "583,253,464"],
        ),
    ];
    for (wiring, params, macs) in counts {
        for (index, (width, _)) in WIDTHS.iter().enumerate() {
            let text = run(["summary", "--width", width, "--wiring", wiring]).good();
            let total = text.lines().find(|line| line.starts_with("total")).expect("a total");
            let fields: Vec<_> = total.split_whitespace().collect();
            assert_eq!(fields[1..3], [params[index], macs[index]], "{wiring} {width}");
        }
    }
}

#[test]
fn a_summary_names_every_layer_and_lines_up() {
    let text = run(["summary", "--size", "64x96"]).good();
    let config = Config::published("1.0", Wiring::Torchvision).unwrap();
    let network = Network::new(&config, &Synthetic::new(&config).unwrap(), Isa::best()).unwrap();
    let mut lines = text.lines().filter(|line| !line.is_empty()).skip(1);
    let head = lines.next().unwrap();
    for name in ["layer", "output", "params", "macs", "mac_bytes"] {
        assert!(head.contains(name), "{head}");
    }
    let rows: Vec<_> = lines.skip(1).collect();
    assert_eq!(rows.len(), network.layers().len() + 1);
    for ((row, layer), cost) in rows.iter().zip(network.layers()).zip(network.costs(64, 96)) {
        let plain = row.replace(',', "");
        let fields: Vec<_> = plain.split_whitespace().collect();
        let [c, h, w] = cost.output;
        assert!(row.starts_with(&layer.name), "{row}");
        assert!(fields.contains(&format!("{c}x{h}x{w}").as_str()), "{row}");
        assert_eq!(fields[fields.len() - 2..], [cost.macs.to_string(), cost.mac_bytes.to_string()]);
        assert_eq!(row.len(), head.len(), "{row}");
    }
}

#[test]
fn a_plot_is_a_whole_file_or_none() {
    let dir = scratch("plot");
    let file = dir.join("network.svg");
    for wiring in ["torchvision", "megvii", "keras"] {
        run(["summary", "--wiring", wiring, "--plot", file.to_str().unwrap()]).good();
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("<svg ") && text.ends_with("</svg>\n"));
        for open in ["<svg", "<style", "<defs", "<marker", "<title", "<text"] {
            let close = open.replace('<', "</");
            assert_eq!(text.matches(open).count(), text.matches(&close).count(), "{open}");
        }
        let shuffles = text.matches("Channel shuffle").count();
        assert_eq!(shuffles, if wiring == "megvii" { 0 } else { 6 });
        for shape in ["3x224x224", "24x112x112", "116x28x28", "232x14x14", "464x7x7", "1000x1x1"] {
            assert!(text.contains(shape), "{shape}");
        }
    }
    let nowhere = dir.join("no folder/network.svg");
    run(["summary", "--plot", nowhere.to_str().unwrap()]).failed(1, &["network.svg", "No such file"]);
    run(["summary", "--plot", dir.to_str().unwrap()]).failed(1, &["plot: Is a directory"]);
    // What would not be what its name says.
    for name in ["network.png", "network.pdf", "network.svg.gz"] {
        let file = dir.join(name);
        run(["summary", "--plot", file.to_str().unwrap()]).failed(2, &["--plot writes SVG", "*.svg", name]);
    }
    run(["summary", "--plot", "/dev/null"]).good();
    assert_eq!(files(&dir), ["network.svg"]);
    let capital = dir.join("network.SVG");
    run(["summary", "--plot", capital.to_str().unwrap()]).good();
    assert!(std::fs::read_to_string(capital).unwrap().starts_with("<svg "));
}

#[test]
fn bench_tells_all_that_it_promises() {
    for isa in Isa::available() {
        for threads in ["1", "2"] {
            let report = json(&[
                "bench",
                "--width",
                "0.5",
                "--wiring",
                "megvii",
                "--size",
                "96",
                "--batch",
                "3",
                "--threads",
                threads,
                "--isa",
                isa.name(),
                "--seconds",
                "0.1",
                "--json",
            ]);
            assert_eq!(number(&report, "width"), 0.5);
            assert_eq!(report["wiring"], "megvii");
            assert_eq!(report["size"], 96);
            assert_eq!(report["batch"], 3);
            assert_eq!(report["threads"].to_string(), threads);
            assert_eq!(report["isa"], isa.name());
            let config = Config::published("0.5", Wiring::Megvii).unwrap();
            let network = Network::new(&config, &Synthetic::new(&config).unwrap(), isa).unwrap();
            let macs: u64 = network.costs(96, 96).iter().map(|cost| cost.macs).sum();
            assert_eq!(report["macs"], macs);
            assert!(number(&report, "n") >= 10.0);
            assert!(number(&report, "min_to_ms") >= number(&report, "min_ms"), "{report}");
            assert!(number(&report, "disturbed") <= number(&report, "n"), "{report}");
            // Disturbed runs are left out, or kept.
            assert!(number(&report, "repeated") * number(&report, "disturbed") == 0.0, "{report}");
            let times = ["min_ms", "median_ms", "p90_ms", "p99_ms"].map(|name| number(&report, name));
            assert!(times[0] > 0.0 && times.is_sorted(), "{report}");
            let gflops = number(&report, "gflops");
            assert!((gflops * times[0] / (6e-6 * macs as f64) - 1.0).abs() < 1e-3, "{report}");
            let percent = 100.0 * gflops / number(&report, "peak_gflops");
            assert!((number(&report, "percent_of_peak") / percent - 1.0).abs() < 1e-3, "{report}");
        }
    }
}

/// Threads beyond the processors that there are add nothing to the peak.
#[cfg(target_os = "linux")]
#[test]
fn the_peak_is_that_of_the_processors_really_had() {
    let allowed = std::fs::read_to_string("/proc/self/status").unwrap();
    let list = allowed.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    let first = list.trim().split([',', '-']).next().unwrap();
    let peak = |command: &str, threads: &str| {
        let mut words = std::process::Command::new("taskset");
        words.args([
            "-c",
            first,
            env!("CARGO_BIN_EXE_shufflenet"),
            command,
            "--width",
            "0.5",
            "--size",
            "64",
        ]);
        words.args(["--seconds", "0.2", "--json", "--threads", threads]);
        let report: Value = serde_json::from_str(&finish(words).good()).unwrap();
        assert_eq!(report["processors"], 1, "{report}");
        number(&report, "peak_gflops")
    };
    if std::process::Command::new("taskset").arg("--version").output().is_ok() {
        for command in ["bench", "profile"] {
            let (one, sixteen) = (peak(command, "1"), peak(command, "16"));
            assert!(sixteen < 4.0 * one, "{one} GFLOP/s with one thread, {sixteen} with sixteen");
        }
    }
    let here = std::thread::available_parallelism().unwrap().get();
    assert_eq!(json(&["bench", "--size", "32", "--seconds", "0.01", "--json"])["processors"], here);
}

/// More than the peak would be a wrong peak.
#[test]
#[ignore = "times things: cargo test -p model -- --ignored --test-threads 1"]
fn bench_stays_below_the_peak() {
    for isa in Isa::available() {
        let report = json(&["bench", "--size", "96", "--isa", isa.name(), "--seconds", "0.1", "--json"]);
        let percent = number(&report, "percent_of_peak");
        assert!(percent > 0.5 && percent < 105.0, "{report}");
    }
}

#[test]
fn bench_for_people() {
    let text = run(["bench", "--width", "1", "--size", "33x64", "--seconds", "0.05"]).good();
    for part in
        ["1.0x", "33x64", "minimum", "median", "99 %", "GFLOP/s", "of the peak", "known to", "disturbed"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    let report = json(&["bench", "--size", "33x64", "--seconds", "0.05", "--json"]);
    assert_eq!(report["size"], "33x64");
}

#[test]
#[ignore = "times things: cargo test -p model -- --ignored --test-threads 1"]
fn the_layers_of_a_profile_add_up_to_the_end_to_end_time() {
    // Other work on the machine, the other tests for one, may spoil a measurement, hardly ten in a row.
    let mut seen = Vec::new();
    for _ in 0..10 {
        let report = json(&["profile", "--width", "1.0", "--seconds", "1", "--json"]);
        let layers = report["layers"].as_array().unwrap();
        let kinds = report["kinds"].as_array().unwrap();
        let sum_ms = number(&report, "sum_ms");
        for rows in [layers, kinds] {
            let sum: f64 = rows.iter().map(|row| number(row, "ms")).sum();
            assert!((sum / sum_ms - 1.0).abs() < 1e-3, "{sum} {sum_ms}");
            let share: f64 = rows.iter().map(|row| number(row, "percent_of_time")).sum();
            assert!((share - 100.0).abs() < 0.1, "{share}");
        }
        let off = sum_ms / number(&report, "end_to_end_ms") - 1.0;
        if off.abs() < 0.05 {
            return;
        }
        seen.push(off);
    }
    panic!("sum of layers against end to end: {seen:?}");
}

#[test]
fn a_profile_tells_of_every_layer_and_kind() {
    let report =
        json(&["profile", "--width", "0.5", "--size", "64", "--batch", "2", "--seconds", "0.1", "--json"]);
    let config = Config::published("0.5", Wiring::Torchvision).unwrap();
    let network = Network::new(&config, &Synthetic::new(&config).unwrap(), Isa::best()).unwrap();
    let layers = report["layers"].as_array().unwrap();
    assert_eq!(layers.len(), network.layers().len());
    let peak = number(&report, "peak_gflops");
    for ((row, layer), cost) in layers.iter().zip(network.layers()).zip(network.costs(64, 64)) {
        assert_eq!(row["name"], layer.name);
        assert_eq!(row["kind"], layer.class.name());
        assert_eq!(row["output"], serde_json::json!(cost.output));
        assert_eq!(row["macs"], cost.macs);
        assert_eq!(row["mac_bytes"], cost.mac_bytes);
        let flops = 2.0 * cost.macs as f64;
        assert!((number(row, "intensity") - flops / cost.mac_bytes as f64).abs() < 1e-4, "{row}");
        // Two images; times are rounded to ten nanoseconds.
        let (ms, gflops) = (number(row, "ms"), number(row, "gflops"));
        assert!((gflops * ms - 2e-6 * flops).abs() <= 1e-5 * gflops + 1e-6, "{row}");
        assert!((number(row, "percent_of_peak") - 100.0 * gflops / peak).abs() < 1e-2, "{row}");
    }
    let kinds = report["kinds"].as_array().unwrap();
    let count = |kind: &str| layers.iter().filter(|layer| layer["kind"] == kind).count();
    for kind in ["stem", "conv1x1", "depthwise", "head"] {
        let row = kinds.iter().find(|row| row["kind"] == kind).expect(kind);
        assert_eq!(row["layers"], count(kind));
    }

    let text = run(["profile", "--width", "0.5", "--size", "64", "--seconds", "0.1"]).good();
    for part in
        ["ms", "GFLOP/s", "% peak", "mac_bytes", "FLOP/byte", "stage4.3.main.pw2", "conv1x1", "end to end"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
}
