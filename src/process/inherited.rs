//! What a process hands down to those that it starts and others may change while it runs: limits, priority, processors and
//! control group. A process that was started before such a change has the old settings.

/// The settings that a process started now would inherit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InheritedSettings {
    /// Soft and hard limit of each resource.
    limits: Vec<[Option<u64>; 2]>,
    nice: Option<i32>,
    cpus: Vec<usize>,
    /// `/proc/self/cgroup` and `/proc/self/oom_score_adj`.
    files: [Vec<u8>; 2],
}

impl InheritedSettings {
    /// Those of the calling thread. On systems other than Linux it knows none.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn now() -> Self {
        Self { limits: Vec::new(), nice: None, cpus: Vec::new(), files: [Vec::new(), Vec::new()] }
    }

    /// Those of the calling thread.
    #[cfg(target_os = "linux")]
    pub(crate) fn now() -> Self {
        use rustix::{
            process::{Resource, getpriority_process, getrlimit},
            thread::{CpuSet, sched_getaffinity},
        };
        const RESOURCES: [Resource; 16] = [
            Resource::Cpu,
            Resource::Fsize,
            Resource::Data,
            Resource::Stack,
            Resource::Core,
            Resource::Rss,
            Resource::Nproc,
            Resource::Nofile,
            Resource::Memlock,
            Resource::As,
            Resource::Locks,
            Resource::Sigpending,
            Resource::Msgqueue,
            Resource::Nice,
            Resource::Rtprio,
            Resource::Rttime,
        ];
        let limits = RESOURCES.map(getrlimit).map(|limit| [limit.current, limit.maximum]).to_vec();
        let cpus = sched_getaffinity(None).map(|cpus| (0..CpuSet::MAX_CPU).filter(|cpu| cpus.is_set(*cpu)).collect());
        let files = ["/proc/self/cgroup", "/proc/self/oom_score_adj"].map(|path| std::fs::read(path).unwrap_or_default());
        Self { limits, nice: getpriority_process(None).ok(), cpus: cpus.unwrap_or_default(), files }
    }
}
