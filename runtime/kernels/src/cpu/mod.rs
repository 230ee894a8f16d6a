//! This CPU: which vector instructions it has, how large its caches are, and which kernels that selects.

mod peak;
mod read;

use std::fmt;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

pub use peak::Peak;
pub(crate) use read::Eviction;

/// Which family of kernels a CPU runs, from the plainest to the widest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Plain Rust; every CPU.
    Portable,
    /// 256-bit vectors with fused multiply-add.
    Avx2,
    /// 512-bit vectors with expand and per-lane masks (AVX-512 F, VL, BW and DQ).
    Avx512,
}

impl Tier {
    /// Every tier, plainest first.
    pub const ALL: [Self; 3] = [Self::Portable, Self::Avx2, Self::Avx512];

    /// Whether this CPU has the instructions.
    pub fn is_available(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        match self {
            Self::Portable => true,
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            Self::Avx512 => {
                Self::Avx2.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        return self == Self::Portable;
    }

    /// The tier whose instructions kernels of integers use: AVX-512 needs products of bytes, byte-wise permutation and expansion, and
    /// maps of bits too (VNNI, VBMI, VBMI2 and GFNI: Ice Lake, Zen 4 and later).
    pub fn for_integers(self) -> Self {
        #[cfg(target_arch = "x86_64")]
        if self == Self::Avx512
            && !(is_x86_feature_detected!("avx512vnni")
                && is_x86_feature_detected!("avx512vbmi")
                && is_x86_feature_detected!("avx512vbmi2")
                && is_x86_feature_detected!("gfni"))
        {
            return Self::Avx2;
        }
        self
    }

    /// The tiers this CPU can run, plainest first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|tier| tier.is_available())
    }

    /// FP32 values in one vector register.
    pub const fn lanes(self) -> usize {
        match self {
            Self::Portable => 4,
            Self::Avx2 => 8,
            Self::Avx512 => 16,
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        })
    }
}

/// What is known of the CPU without measuring.
#[derive(Clone, Debug, Serialize)]
pub struct Cpu {
    /// Model as the CPU names itself, or the architecture where it has no name.
    pub model: String,
    /// Its maker as the CPU names it, `GenuineIntel` or `AuthenticAMD`; empty where it has no name.
    pub vendor: String,
    /// Cores this process may use.
    pub cores: usize,
    /// Vector features that a kernel of this crate looks at and this CPU has.
    pub features: Vec<&'static str>,
    /// Bytes of the first-level data cache, of the second level and of the last level, where the system tells.
    pub caches: Caches,
    /// The kernels in use.
    pub tier: Tier,
    /// Why this tier and no wider one.
    pub why: &'static str,
}

/// Sizes of the caches in bytes; `None` where the system does not tell.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Caches {
    /// First level, data, per core.
    pub l1_bytes: Option<usize>,
    /// Second level, per core.
    pub l2_bytes: Option<usize>,
    /// Third level, shared.
    pub l3_bytes: Option<usize>,
}

impl Caches {
    /// Bytes of the second level, or a usual size where the system does not tell.
    pub(crate) fn second_level(&self) -> usize {
        self.l2_bytes.unwrap_or(1 << 20)
    }
}

impl Cpu {
    /// This CPU, looked at once.
    pub fn this() -> &'static Self {
        static THIS: OnceLock<Cpu> = OnceLock::new();
        THIS.get_or_init(|| {
            let tier = Tier::available().last().unwrap_or(Tier::Portable);
            Self {
                model: model(),
                vendor: vendor(),
                cores: std::thread::available_parallelism().map_or(1, usize::from),
                features: features(),
                caches: caches(),
                tier,
                why: why(tier),
            }
        })
    }
}

fn why(tier: Tier) -> &'static str {
    match tier {
        Tier::Avx512 => "AVX-512 F, VL, BW and DQ are present",
        Tier::Avx2 => "AVX2 and FMA are present, AVX-512 (F, VL, BW and DQ together) is not",
        Tier::Portable if cfg!(target_arch = "x86_64") => "this CPU lacks AVX2 or FMA",
        Tier::Portable => "machine code and vector kernels are made for x86-64 only",
    }
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<&'static str> {
    macro_rules! present {
        ($($name:tt),*) => { [$(($name, is_x86_feature_detected!($name))),*] };
    }
    let known = present!(
        "avx",
        "avx2",
        "fma",
        "avx512f",
        "avx512vl",
        "avx512bw",
        "avx512dq",
        "avx512vbmi",
        "avx512vbmi2",
        "avx512vnni",
        "gfni"
    );
    known.into_iter().filter_map(|(name, has)| has.then_some(name)).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn features() -> Vec<&'static str> {
    Vec::new()
}

#[cfg(target_arch = "x86_64")]
fn model() -> String {
    use std::arch::x86_64::__cpuid;
    if __cpuid(0x8000_0000).eax < 0x8000_0004 {
        return "x86-64".into();
    }
    let name: Vec<u8> = (0x8000_0002..=0x8000_0004)
        .map(__cpuid)
        .flat_map(|part| [part.eax, part.ebx, part.ecx, part.edx])
        .flat_map(u32::to_le_bytes)
        .take_while(|byte| *byte != 0)
        .collect();
    // Hypervisors shorten the name to the family; family, model and stepping tell generations apart.
    format!("{} ({:#x})", String::from_utf8_lossy(&name).trim(), __cpuid(1).eax)
}

#[cfg(not(target_arch = "x86_64"))]
fn model() -> String {
    std::env::consts::ARCH.into()
}

#[cfg(target_arch = "x86_64")]
fn vendor() -> String {
    let leaf = std::arch::x86_64::__cpuid(0);
    let name: Vec<u8> = [leaf.ebx, leaf.edx, leaf.ecx].into_iter().flat_map(u32::to_le_bytes).collect();
    String::from_utf8_lossy(&name).into_owned()
}

#[cfg(not(target_arch = "x86_64"))]
fn vendor() -> String {
    String::new()
}

/// Linux lists the caches of a core as files; elsewhere they stay unknown.
fn caches() -> Caches {
    let read = |index: usize, name: &str| {
        std::fs::read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{name}")).ok()
    };
    let mut caches = Caches::default();
    for index in 0..8 {
        let (Some(level), Some(kind), Some(size)) = (read(index, "level"), read(index, "type"), read(index, "size")) else {
            continue;
        };
        let Some(bytes) = size.trim().strip_suffix('K').and_then(|kib| kib.parse::<usize>().ok()).map(|kib| kib << 10) else {
            continue;
        };
        match (level.trim(), kind.trim()) {
            ("1", "Data") => caches.l1_bytes = Some(bytes),
            ("2", _) => caches.l2_bytes = Some(bytes),
            ("3", _) => caches.l3_bytes = Some(bytes),
            _ => {}
        }
    }
    caches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_available_tier_is_chosen() {
        let cpu = Cpu::this();
        assert!(cpu.tier.is_available() && Tier::Portable.is_available());
        assert!(Tier::available().all(|tier| tier <= cpu.tier));
        assert!(!cpu.model.is_empty() && cpu.cores > 0);
    }
}
