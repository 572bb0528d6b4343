//! Whose an address is, among few prefixes and many.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use adit_wireguard::{AllowedIps, Prefix};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Addresses looked up in one go, so that no cache line answers all of them.
const LOOKUPS: usize = 256;

/// The same numbers in every run (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// An address of 10.0.0.0/8 or fd00::/16, as gateways have them.
    fn address(&mut self, v6: bool) -> IpAddr {
        let number = self.next();
        if v6 {
            Ipv6Addr::from_bits((0xfd00 << 112) | u128::from(number) << 48).into()
        } else {
            Ipv4Addr::from_bits((10 << 24) | (number as u32 >> 8)).into()
        }
    }
}

fn table(count: usize, v6: bool) -> (AllowedIps<u32>, Vec<IpAddr>) {
    let (mut numbers, mut table, mut inside) = (Numbers(1), AllowedIps::new(), Vec::new());
    for value in 0..count {
        let address = numbers.address(v6);
        let (shortest, span) = if v6 { (48, 33) } else { (16, 17) };
        let length = shortest + (numbers.next() % span) as u8;
        table.insert(Prefix::new(address, length).expect("a length in bounds"), value as u32);
        inside.push(address);
    }
    // Every second address belongs to somebody for certain.
    let addresses = (0..LOOKUPS).map(|at| match at % 2 {
        0 => inside[numbers.next() as usize % count],
        _ => numbers.address(v6),
    });
    (table, addresses.collect())
}

fn lookups(c: &mut Criterion) {
    let mut group = c.benchmark_group("allowed_ips");
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(1));
    group.throughput(Throughput::Elements(LOOKUPS as u64));
    for (family, v6) in [("v4", false), ("v6", true)] {
        for count in [10, 10_000] {
            let (table, addresses) = table(count, v6);
            group.bench_function(BenchmarkId::new(family, count), |b| {
                b.iter(|| addresses.iter().filter_map(|address| table.lookup(black_box(*address))).count());
            });
        }
    }
    group.finish();
}

criterion_group!(benches, lookups);
criterion_main!(benches);
