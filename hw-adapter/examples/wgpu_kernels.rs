//! How fast jobs are on a GPU: ranges bound directly, and by the page table.

use std::error::Error;
use std::sync::Arc;

use cpu_time::ProcessTime;
use gpumm_hw::wgpu::{AdapterChoice, WgpuConfig, WgpuDevice};
use gpumm_hw::{
    Backing, Check, Command, Device, EngineId, Launch, Outcome, OutcomeValue, PatternKey, PteWrite,
    Segment, Submission, SystemMemory, Timelines, VmId, VmKernel,
};

const BYTES: u64 = 48 << 20;
const VM: VmId = VmId(1);

fn perform(device: &WgpuDevice, command: Command) -> Result<(), Box<dyn Error>> {
    let outcome = Arc::new(Outcome::new());
    device.submit(EngineId(0), Submission::new(command).outcome(&outcome))?;
    match outcome.wait(None).ok_or("it did not end")? {
        OutcomeValue::Failed(error) => Err(error.to_string().into()),
        _ => Ok(()),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let key = |generation| PatternKey {
        buffer: 1,
        generation,
    };
    let (a, b) = (0, 1 << 30);
    let kernels = [
        VmKernel::Fill {
            dst: b,
            bytes: BYTES,
            pattern: 7,
        },
        VmKernel::Copy {
            src: a,
            dst: b,
            bytes: BYTES,
        },
        VmKernel::WritePattern {
            dst: a,
            bytes: BYTES,
            key: key(1),
        },
        VmKernel::CheckPattern {
            src: a,
            bytes: BYTES,
            key: key(1),
        },
        VmKernel::Rewrite {
            at: a,
            bytes: BYTES,
            old: key(1),
            new: key(1),
            check: Check::Full,
        },
        VmKernel::Checksum {
            src: a,
            bytes: BYTES,
            dst: b,
        },
        VmKernel::Saxpy {
            a: 1.0,
            x: a,
            y: b,
            count: BYTES / 4,
        },
    ];
    println!(
        "{:14} {:>10} {:>10} {:>10}   GiB per second of all cores, of {} MiB",
        "",
        "direct",
        "walked",
        "scattered",
        BYTES >> 20
    );
    let mut rates = vec![Vec::new(); kernels.len()];
    for (direct, scattered) in [(true, false), (false, false), (false, true)] {
        let config = WgpuConfig {
            bind_direct: direct,
            ..WgpuConfig::new("gpu", 256 << 20)
        };
        let system = Arc::new(SystemMemory::new(1 << 20)?);
        let device = WgpuDevice::new(
            &AdapterChoice::Best,
            config,
            Arc::new(Timelines::new()),
            system,
        )?;
        device.create_vm(VM, 0, 1 << 40)?;
        let list = |base: u64| -> Vec<Segment> {
            match scattered {
                false => vec![Segment::vram(base, BYTES)],
                true => (0..BYTES / 4096)
                    .map(|n| Segment::vram(base + n * 7919 % (BYTES / 4096) * 4096, 4096))
                    .collect(),
            }
        };
        let write = |address, base| PteWrite {
            address,
            bytes: BYTES,
            backing: Backing::Memory {
                segments: list(base).into(),
                offset: 0,
                write: true,
            },
        };
        perform(
            &device,
            Command::WritePtes {
                vm: VM,
                writes: [write(a, 0), write(b, 64 << 20)].into(),
            },
        )?;
        for (kernel, rates) in kernels.iter().zip(&mut rates) {
            let mut times = Vec::new();
            for _ in 0..9 {
                let begin = ProcessTime::now();
                perform(
                    &device,
                    Command::Launch(Launch {
                        vm: VM,
                        job: 1,
                        kernel: kernel.clone(),
                    }),
                )?;
                times.push(begin.elapsed().as_secs_f64());
            }
            times.sort_by(f64::total_cmp);
            rates.push(BYTES as f64 / times[4] / f64::from(1 << 30));
        }
    }
    for (kernel, rates) in kernels.iter().zip(&rates) {
        println!(
            "{:14} {:>10.2} {:>10.2} {:>10.2}",
            kernel.name(),
            rates[0],
            rates[1],
            rates[2]
        );
    }
    Ok(())
}
