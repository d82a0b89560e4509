//! A report as a run would make it, with times from a formula instead of a clock.

use bench_suite::environment::Environment;
use bench_suite::graph::{Class, Graph};
use bench_suite::peers::{Peers, Place, Race, Row};
use bench_suite::report::{
    Bandwidth, Cold, Machine, Measurement, Peak, Report, SCHEMA, Settings, Split, Traffic,
};
use bench_suite::{guidelines, networks, sweeps};

const ISAS: [&str; 3] = ["avx512", "avx2", "portable"];

/// Multiply-adds at 100 GFLOP/s and bytes at 40 GB/s, a little slower from sample to sample.
fn measurement(id: String, graph: &Graph, batch: usize, speed: f64) -> Measurement {
    let (macs, mac_bytes) = (graph.macs() * batch as u64, graph.mac_bytes() * batch as u64);
    let seconds = (macs as f64 * 2e-11 + mac_bytes as f64 / 40e9) / speed;
    Measurement {
        id,
        isa: "avx512".into(),
        threads: 1,
        batch,
        macs,
        mac_bytes,
        lower_bound_bytes: graph.lower_bound_bytes(),
        runs_per_sample: 1,
        cpu_over_wall: Some(0.99),
        seconds: (0..20).map(|i| seconds * (1.0 + 0.001 * f64::from(i))).collect(),
    }
}

/// A complete report.
pub(crate) fn report() -> Report {
    let mut measurements = Vec::new();
    for experiment in guidelines::all() {
        for column in &experiment.columns {
            for case in &column.cases {
                measurements.push(measurement(experiment.case_id(column, case), &case.graph, 1, 1.0));
            }
        }
    }
    let mut splits = Vec::new();
    for network in networks::all() {
        let id = format!("net/{}", network.id);
        measurements.push(measurement(id.clone(), &network.graph, 1, 1.0));
        let seconds = Class::ALL.map(|class| 1e-3 / (1.0 + class as usize as f64));
        splits.push(Split { id, seconds });
    }
    for (width, network) in sweeps::WIDTHS.into_iter().zip(networks::all()) {
        let graph = &network.graph;
        let mut push = |id: String, graph: &Graph, batch: usize, speed: f64| {
            measurements.push(measurement(id, graph, batch, speed));
        };
        push(format!("model/{width}"), graph, 1, 1.1);
        for (isa, speed) in ISAS.into_iter().zip([1.0, 0.6, 0.3]) {
            push(format!("isa/{isa}/{width}"), graph, 1, speed);
        }
        for threads in sweeps::threads(4) {
            push(format!("threads/{threads}/{width}"), graph, 1, threads as f64 * 0.9);
        }
        for batch in sweeps::BATCHES {
            push(format!("batch/{batch}/{width}"), graph, batch, 1.0);
        }
        for size in sweeps::SIZES {
            push(format!("size/{size}/{width}"), &graph.resized(size, size), 1, 1.0);
        }
    }
    for (_, layer) in sweeps::layers() {
        let id = sweeps::layer_id(&layer);
        if !measurements.iter().any(|m| m.id == id) {
            measurements.push(measurement(id, &sweeps::single(&layer), 1, 1.0));
        }
    }
    for isa in ISAS {
        for channels in sweeps::CHANNELS {
            for (name, layer) in sweeps::channel_layers(channels) {
                let id = format!("channels/{isa}/{name}/{channels}");
                measurements.push(measurement(id, &sweeps::single(&layer), 1, 1.0));
            }
        }
    }
    let peak =
        |isa: &str, threads: usize| Peak { isa: isa.to_owned(), threads, gflops: 120.0 * threads as f64 };
    let level = |level: &str, bytes, read| Bandwidth { level: level.into(), bytes, read, copy: read / 2.0 };
    let mut environment = Environment::observe();
    environment.cores = 4;
    environment.opt_level = "3".into();
    let row = |engine: &str, min_ms: f64| Row {
        engine: engine.into(),
        version: "1.0".into(),
        n: 500,
        min_ms,
        median_ms: 1.1 * min_ms,
        p90_ms: 1.3 * min_ms,
        cores: 1.0,
    };
    let race = |(width, ms): (&str, f64)| Race {
        width: width.into(),
        batch: 1,
        threads: 1,
        others: 0.01,
        results: vec![row("ours", ms), row("one engine", 1.7 * ms), row("other engine", 2.1 * ms)],
    };
    let races = [("0.5", 0.7), ("1.0", 2.0), ("1.5", 3.8), ("2.0", 7.6)].map(race).to_vec();
    let place = Place { cpu: "some processor".into(), date: "2026-01-31".into() };
    let cold = |width: &str| Cold { width: width.into(), build: 8e-3, first: 4e-3 };
    let traffic = |row: &str| Traffic {
        id: format!("g1/arm/x1/{row}"),
        first_level: 40_000_000,
        last_level: 9_000_000,
    };
    Report {
        schema: SCHEMA,
        environment,
        settings: Settings {
            mode: "default".into(),
            isa: "avx512".into(),
            threads: 1,
            pinned: true,
            seconds: 180,
        },
        machine: Machine {
            peaks: ISAS.iter().flat_map(|isa| [1, 2, 4].map(|threads| peak(isa, threads))).collect(),
            bandwidths: vec![
                level("L1", 16 << 10, 200.0),
                level("L2", 512 << 10, 120.0),
                level("L3", 4 << 20, 60.0),
                level("DRAM", 128 << 20, 12.0),
            ],
            noise: (0..100).map(|i| 118.0 - 0.1 * f64::from(i % 10)).collect(),
        },
        measurements,
        splits,
        cold: sweeps::WIDTHS.map(cold).to_vec(),
        traffic: ["1-1", "1-2", "1-6", "1-12"].map(traffic).to_vec(),
        peers: Some(Peers::new(place, races)),
    }
}
