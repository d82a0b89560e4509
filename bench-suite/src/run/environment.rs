//! Everything about machine, compiler and build that a reader needs to judge a number.

use std::fs;
use std::hint::black_box;
use std::thread::available_parallelism;

use serde::{Deserialize, Serialize};

/// Where and how a report was made. Fields the system does not tell are `None` or empty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Environment {
    /// When the report was begun, in UTC (RFC 3339).
    pub(crate) date: String,
    /// Version of this program.
    pub(crate) version: String,
    /// What the processor calls itself.
    pub(crate) cpu: String,
    /// Threads that can run at once.
    pub(crate) cores: usize,
    /// Data and unified caches, innermost first.
    pub(crate) caches: Vec<Cache>,
    /// Whether a hypervisor is present, as far as the processor tells.
    pub(crate) virtualised: Option<bool>,
    /// Frequency governor of the first core.
    pub(crate) governor: Option<String>,
    /// Tasks running or waiting over the last minute, when the report was begun.
    pub(crate) load: Option<f64>,
    /// Operating system and architecture.
    pub(crate) system: String,
    /// Compiler.
    pub(crate) rustc: String,
    /// Target triple compiled for.
    pub(crate) target: String,
    /// Optimisation level.
    pub(crate) opt_level: String,
    /// `RUSTFLAGS` of the build.
    pub(crate) rustflags: String,
    /// Target features the compiler could rely on everywhere. Kernels use more: they are chosen at run time.
    pub(crate) target_features: Vec<String>,
    /// What happens to denormal numbers.
    pub(crate) denormals: Denormals,
}

/// One cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cache {
    /// 1 is closest to the core.
    pub(crate) level: u8,
    /// Bytes.
    pub(crate) bytes: u64,
    /// How many threads share it.
    pub(crate) shared_by: u32,
}

/// How the floating-point unit treats denormal numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Denormals {
    /// Denormal results become zero (FTZ).
    pub(crate) results_flushed: bool,
    /// Denormal operands count as zero (DAZ).
    pub(crate) operands_zeroed: bool,
}

impl Denormals {
    /// Finds out by arithmetic, so it holds whatever set the mode.
    pub(crate) fn observe() -> Self {
        let smallest_normal = black_box(f32::MIN_POSITIVE);
        let denormal = black_box(f32::from_bits(1));
        Self {
            results_flushed: black_box(smallest_normal * black_box(0.5)) == 0.0,
            operands_zeroed: black_box(denormal * black_box(1e30)) == 0.0,
        }
    }
}

impl Environment {
    /// Asks the system.
    pub(crate) fn observe() -> Self {
        Self {
            date: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cpu: cpu(),
            cores: available_parallelism().map_or(1, usize::from),
            caches: caches(),
            virtualised: virtualised(),
            governor: read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            load: read("/proc/loadavg").and_then(|s| s.split_whitespace().next()?.parse().ok()),
            system: system(),
            rustc: env!("BENCH_SUITE_RUSTC").to_owned(),
            target: env!("BENCH_SUITE_TARGET").to_owned(),
            opt_level: env!("BENCH_SUITE_OPT_LEVEL").to_owned(),
            rustflags: env!("BENCH_SUITE_RUSTFLAGS").to_owned(),
            target_features: env!("BENCH_SUITE_TARGET_FEATURES").split(',').map(str::to_owned).collect(),
            denormals: Denormals::observe(),
        }
    }

    /// Bytes of the cache of this level, if known.
    pub(crate) fn cache(&self, level: u8) -> Option<u64> {
        self.caches.iter().find(|c| c.level == level).map(|c| c.bytes)
    }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|s| s.trim().to_owned())
}

fn system() -> String {
    let kernel = read("/proc/sys/kernel/osrelease").map_or_else(String::new, |release| format!(" {release}"));
    format!("{}{kernel} ({})", std::env::consts::OS, std::env::consts::ARCH)
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn cpu() -> String {
    let brand = raw_cpuid::CpuId::new().get_processor_brand_string().map(|b| b.as_str().trim().to_owned());
    brand.filter(|b| !b.is_empty()).unwrap_or_else(|| "unknown x86".into())
}

/// The first line of `/proc/cpuinfo` that names the processor; ARM boards use several keys.
#[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
fn cpu() -> String {
    let info = read("/proc/cpuinfo").unwrap_or_default();
    let named = |key: &str| {
        let line = info.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    ["model name", "Model", "Hardware", "CPU part"]
        .into_iter()
        .find_map(named)
        .unwrap_or_else(|| format!("unknown {}", std::env::consts::ARCH))
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn virtualised() -> Option<bool> {
    raw_cpuid::CpuId::new().get_feature_info().map(|f| f.has_hypervisor())
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
fn virtualised() -> Option<bool> {
    None
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn caches() -> Vec<Cache> {
    use raw_cpuid::CacheType::{Data, Unified};
    let cpuid = raw_cpuid::CpuId::new();
    let Some(all) = cpuid.get_cache_parameters() else { return Vec::new() };
    let mut caches: Vec<Cache> = all
        .filter(|c| matches!(c.cache_type(), Data | Unified))
        .map(|c| Cache {
            level: c.level(),
            bytes: (c.associativity() * c.physical_line_partitions() * c.coherency_line_size() * c.sets())
                as u64,
            shared_by: c.max_cores_for_cache() as u32,
        })
        .collect();
    caches.sort_by_key(|c| c.level);
    caches
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
fn caches() -> Vec<Cache> {
    let mut caches: Vec<Cache> = (0..8).filter_map(sysfs_cache).collect();
    caches.sort_by_key(|c| c.level);
    caches
}

/// Cache `index` of the first core, unless it holds instructions only.
#[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
fn sysfs_cache(index: usize) -> Option<Cache> {
    let field = |name: &str| read(&format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{name}"));
    if field("type")? == "Instruction" {
        return None;
    }
    let size = field("size")?;
    let bytes = match size.strip_suffix('K') {
        Some(kib) => kib.parse::<u64>().ok()? << 10,
        None => size.strip_suffix('M')?.parse::<u64>().ok()? << 20,
    };
    let shared_by =
        field("shared_cpu_map")?.chars().filter_map(|c| c.to_digit(16)).map(u32::count_ones).sum();
    Some(Cache { level: field("level")?.parse().ok()?, bytes, shared_by })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine() {
        let env = Environment::observe();
        assert!(env.rustc.starts_with("rustc 1."), "{}", env.rustc);
        assert!(env.target.contains(std::env::consts::ARCH));
        assert!(!env.cpu.is_empty() && env.cores >= 1);
        assert!(env.date.parse::<jiff::Timestamp>().is_ok(), "{}", env.date);
        assert!(env.caches.iter().all(|c| c.bytes >= 1 << 10), "{:?}", env.caches);
    }

    /// Rust programs start with denormals on, on every target this runs on.
    #[test]
    fn denormals_are_kept_by_default() {
        assert_eq!(Denormals::observe(), Denormals { results_flushed: false, operands_zeroed: false });
    }
}
