//! tract-onnx behind the protocol of `../engines.py`: `tract-peer FOLDER WIDTH BATCH THREADS`.

use std::io::{BufRead, Write};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use tract_linalg::multithread::{Executor, set_default_executor};
use tract_onnx::prelude::*;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, width, batch, threads] = args.as_slice() else {
        bail!("usage: tract-peer FOLDER WIDTH BATCH THREADS");
    };
    let batch: usize = batch.parse()?;
    let threads: usize = threads.parse()?;
    if threads > 1 {
        set_default_executor(Executor::multithread(threads));
    }

    let npy = std::fs::read(format!("{folder}/input_b{batch}.npy"))?;
    let pixels: Vec<f32> = npy[npy.len() - batch * 3 * 224 * 224 * 4..]
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    let shape = [batch, 3, 224, 224];

    let start = Instant::now();
    let model = tract_onnx::onnx()
        .model_for_path(format!("{folder}/{width}_b{batch}.onnx"))?
        .with_input_fact(0, f32::fact(shape).into())?
        .into_optimized()?
        .into_runnable()?;
    let run = || -> Result<Tensor> {
        let image = Tensor::from_shape(&shape, &pixels)?;
        Ok(model.run(tvec!(image.into()))?.swap_remove(0).into_tensor())
    };
    run()?;
    let load_ms = 1e3 * start.elapsed().as_secs_f64();
    println!("{}", serde_json::json!({ "version": "0.23.9", "load_ms": load_ms }));

    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (command, argument) = line.split_once(' ').context("a command has an argument")?;
        match command {
            "logits" => {
                write_npy(argument, &run()?)?;
                println!("{{}}");
            }
            "run" => {
                let seconds: f64 = argument.parse()?;
                timed(&run, seconds / 5.0)?;
                let ns = timed(&run, seconds)?;
                println!("{}", serde_json::json!({ "ns": ns }));
            }
            _ => bail!("unknown command {command}"),
        }
    }
    Ok(())
}

/// Nanoseconds of each run; at least two runs.
fn timed(run: &dyn Fn() -> Result<Tensor>, seconds: f64) -> Result<Vec<u64>> {
    let mut ns = Vec::new();
    let start = Instant::now();
    while ns.len() < 2 || start.elapsed().as_secs_f64() < seconds {
        let before = Instant::now();
        run()?;
        ns.push(before.elapsed().as_nanos() as u64);
    }
    Ok(ns)
}

/// Logits (batch, classes) as a `.npy` file.
fn write_npy(path: &str, logits: &Tensor) -> Result<()> {
    let dict = format!(
        "{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}",
        logits.shape()[0],
        logits.shape()[1]
    );
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    // Magic, version, length of the header, and the header padded to a multiple of 64 bytes.
    file.write_all(b"\x93NUMPY\x01\x00\xf6\x00")?;
    writeln!(file, "{dict:<245}")?;
    for value in logits.to_plain_array_view::<f32>()?.iter() {
        file.write_all(&value.to_le_bytes())?;
    }
    Ok(file.flush()?)
}
