//! Reads the machine code of the inner loops in this very executable: no vector register may be spilled in them, and
//! nothing may be called. Both have happened without a warning and cost a factor of two to a hundred.
//!
//! Needs optimised code (`cargo test --release -p kernels --test assembly`) and `objdump` (or what `OBJDUMP` names);
//! otherwise it says that it did not look. With `KERNELS_REQUIRE_ASSEMBLY` set, not looking is a failure.
#![cfg(not(target_family = "wasm"))]

use kernels::{Depthwise, Isa, Pointwise, Shape, Tensor, Window};
use std::collections::BTreeMap;
use std::process::Command;

/// A loop without loops inside it.
struct Loop<'a> {
    lines: &'a [&'a str],
}

impl Loop<'_> {
    fn count(&self, what: impl Fn(&str) -> bool) -> usize {
        self.lines.iter().filter(|line| what(line)).count()
    }

    /// Multiply-adds, fused or (SSE2) in two.
    fn multiply_adds(&self) -> usize {
        let fused = self.count(|line| line.contains("fmadd") || line.contains("\tfmla\t"));
        fused + self.count(|line| line.contains("mulps")).min(self.count(|line| line.contains("addps")))
    }

    fn calls(&self) -> usize {
        self.count(|line| line.contains("call") || line.contains("\tbl\t") || line.contains("\tblr\t"))
    }

    /// Vector registers moved to or from the stack.
    fn spills(&self) -> usize {
        self.count(|line| {
            let x86 = ["%xmm", "%ymm", "%zmm"].iter().any(|register| line.contains(register));
            let stack = line.contains("(%rsp") || line.contains("[sp") || line.contains("[x29");
            (x86 || line.contains("\tq") || line.contains(" q")) && stack
        })
    }
}

/// The address an instruction line begins with.
fn address(line: &str) -> Option<u64> {
    u64::from_str_radix(line.trim_start().split_once(':')?.0, 16).ok()
}

/// Where a jump goes, if the line is one.
fn jump(line: &str) -> Option<u64> {
    let (_, instruction) = line.split_once(':')?;
    let mut words = instruction.split_whitespace();
    let name = words.next()?;
    let jumps = name.starts_with('j')
        || name.starts_with("b.")
        || ["b", "cbz", "cbnz", "tbz", "tbnz"].contains(&name);
    let target = words.take_while(|word| !word.starts_with('<')).last()?.trim_start_matches("0x");
    if jumps { u64::from_str_radix(target, 16).ok() } else { None }
}

/// The innermost loops of a function.
fn loops<'a>(lines: &'a [&'a str]) -> Vec<Loop<'a>> {
    let at: BTreeMap<u64, usize> =
        lines.iter().enumerate().filter_map(|(i, line)| Some((address(line)?, i))).collect();
    let mut spans: Vec<(usize, usize)> = lines
        .iter()
        .enumerate()
        .filter_map(|(end, line)| Some((*at.get(&jump(line)?)?, end)))
        .filter(|(start, end)| start <= end)
        .collect();
    spans.sort_by_key(|(start, end)| end - start);
    let mut inner: Vec<(usize, usize)> = Vec::new();
    for (start, end) in spans {
        if !inner.iter().any(|&(s, e)| start <= s && e <= end) {
            inner.push((start, end));
        }
    }
    inner.into_iter().map(|(start, end)| Loop { lines: &lines[start..=end] }).collect()
}

#[test]
fn inner_loops_neither_spill_nor_call() {
    let available: Vec<Isa> = Isa::available().collect();
    // Only what is used is linked.
    let conv = Pointwise::builder(1, 1).build(&[1.0]).expect("a convolution");
    let depthwise = Depthwise::builder(1, Window::new(3).pad(1)).build(&[1.0; 9]).expect("a convolution");
    let (src, mut dst) = (Tensor::zeros(Shape::new(1, 1, 1)), Tensor::zeros(Shape::new(1, 1, 1)));
    conv.run(src.view(), dst.view_mut());
    depthwise.run(src.view(), dst.view_mut());
    let looked = if cfg!(debug_assertions) {
        Err("this is not a release build".to_owned())
    } else {
        let executable = std::env::current_exe().expect("a path");
        let objdump = std::env::var("OBJDUMP").unwrap_or_else(|_| "objdump".to_owned());
        let output = Command::new(&objdump).args(["-d", "--no-show-raw-insn"]).arg(executable).output();
        output.map_err(|error| format!("{objdump}: {error}"))
    };
    let text = match looked {
        Ok(output) => String::from_utf8(output.stdout).expect("objdump writes text"),
        Err(why) => {
            assert!(std::env::var_os("KERNELS_REQUIRE_ASSEMBLY").is_none(), "assembly not read: {why}");
            println!("assembly not read: {why}");
            return;
        }
    };
    // For each kind of loop: how many, and multiply-adds and instructions of the one with the most multiply-adds.
    let mut found: BTreeMap<String, (usize, usize, usize)> = BTreeMap::new();
    for function in text.split("\n\n") {
        let Some((name, body)) = function.split_once('\n') else { continue };
        // An intrinsic by itself, or a piece of a kernel: compiled without the instruction set, and called once per
        // vector.
        let outlined = name.contains("core_arch") && name.contains("mm")
            || name.contains("kernels") && name.contains("4simd");
        assert!(!outlined, "not inlined: {name}");
        let Some(isa) = available.iter().find(|isa| {
            let module = if **isa == Isa::portable() { "portable" } else { isa.name() };
            name.contains(&format!("backend{}{module}", module.len()))
        }) else {
            continue;
        };
        let lines: Vec<&str> = body.lines().collect();
        // (What ends in a panic may look like a loop; its vectors are constants on their way to the stack.)
        let any = |line: &str, names: &[&str]| names.iter().any(|name| line.contains(name));
        let computes = |inner: &Loop<'_>| {
            inner.count(|line| {
                any(line, &["%xmm", "%ymm", "%zmm", ".4s"]) && !any(line, &["(%rip)", "(%rsp)", "xorps"])
            }) > 0
        };
        for inner in loops(&lines).into_iter().filter(computes) {
            assert_eq!(inner.calls(), 0, "{isa} calls in\n{name}\n{}", inner.lines.join("\n"));
        }
        // Multiply-adds that the loop of a full tile has.
        let (kind, full) = match (name.contains("gemm_blocked"), name.contains("depthwise")) {
            (true, _) => ("gemm", 8),
            (_, true) => ("depthwise", 9),
            _ => continue,
        };
        for inner in loops(&lines).iter().filter(|inner| inner.multiply_adds() >= full) {
            let listing = || inner.lines.join("\n");
            assert_eq!(inner.spills(), 0, "{isa} {kind} spills in\n{}", listing());
            let (count, most, instructions) = found.entry(format!("{isa} {kind}")).or_default();
            *count += 1;
            if inner.multiply_adds() > *most {
                (*most, *instructions) = (inner.multiply_adds(), inner.lines.len());
            }
        }
    }
    for (kind, (count, most, instructions)) in &found {
        println!("{kind}: {count} loops, the largest of {most} multiply-adds in {instructions} instructions");
    }
    for isa in available {
        for kind in ["gemm", "depthwise"] {
            assert!(found.contains_key(&format!("{isa} {kind}")), "no {kind} loop of {isa} found: {found:?}");
        }
    }
    if cfg!(target_arch = "aarch64") {
        assert!(found["neon gemm"].1 >= 24, "the tile of 6 x 4 registers is not among {found:?}");
    }
}
