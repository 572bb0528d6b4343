//! AF_XDP sockets that send (linux/if_xdp.h): frames are copied to memory that the kernel shares, and a ringful of them leaves
//! by one call, straight to the driver.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{check, option};

/// Bytes of the longest frame. With twice as much there is nothing to gain (`bench/results/raw-ethernet.md`).
pub(crate) const CHUNK: usize = 2_048;
/// Chunks, and places in each ring: a power of two.
const CHUNKS: u32 = 1_024;

/// Memory that the kernel sees as well.
struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: it is memory like any other; who may touch which part of it when is the rings' business.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps `len` bytes of `fd` from `offset` on, or fresh ones without it.
    fn new(fd: Option<BorrowedFd<'_>>, offset: i64, len: usize) -> io::Result<Self> {
        let (shared, fd) =
            fd.map_or((libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1), |fd| (libc::MAP_SHARED, fd.as_raw_fd()));
        let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, shared | libc::MAP_POPULATE);
        // SAFETY: a new mapping at a place of the kernel's choice touches no memory that is in use.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), len, access, flags, fd, offset) };
        let base = NonNull::new(base.cast()).filter(|_| base != libc::MAP_FAILED);
        Ok(Self { base: base.ok_or_else(io::Error::last_os_error)?, len })
    }

    /// The `size` bytes at an offset, as the kernel laid them out.
    fn at<T>(&self, offset: u64, count: usize) -> io::Result<NonNull<T>> {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let fits = offset.checked_add(count * size_of::<T>()).is_some_and(|end| end <= self.len);
        if !fits || !offset.is_multiple_of(align_of::<T>()) {
            return Err(io::Error::other("a ring lies outside of its mapping"));
        }
        // SAFETY: the offset is within the mapping.
        Ok(unsafe { self.base.add(offset) }.cast())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and whoever points into it goes with it.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// A ring of `T` between this process and the kernel, one of which writes.
struct Ring<T> {
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    entries: NonNull<T>,
    _mapping: Mapping,
}

// SAFETY: it points into its own mapping alone.
unsafe impl<T: Send> Send for Ring<T> {}

impl<T: Copy> Ring<T> {
    fn map(fd: BorrowedFd<'_>, page: i64, offsets: &libc::xdp_ring_offset) -> io::Result<Self> {
        let len = offsets.desc as usize + CHUNKS as usize * size_of::<T>();
        let mapping = Mapping::new(Some(fd), page, len)?;
        Ok(Self {
            producer: mapping.at(offsets.producer, 1)?,
            consumer: mapping.at(offsets.consumer, 1)?,
            entries: mapping.at(offsets.desc, CHUNKS as usize)?,
            _mapping: mapping,
        })
    }

    fn producer(&self) -> &AtomicU32 {
        // SAFETY: it points into the mapping, to an integer that the kernel reads and writes atomically.
        unsafe { self.producer.as_ref() }
    }

    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as in `producer`.
        unsafe { self.consumer.as_ref() }
    }

    /// The entry of a running number.
    fn entry(&self, number: u32) -> NonNull<T> {
        // SAFETY: there are as many entries as CHUNKS, and the mask keeps to them.
        unsafe { self.entries.add((number & (CHUNKS - 1)) as usize) }
    }
}

/// A socket that sends on one link.
pub(crate) struct Sender {
    /// The first to be dropped: the socket ends before its memory does.
    fd: OwnedFd,
    frames: Ring<libc::xdp_desc>,
    done: Ring<u64>,
    chunks: Mapping,
    /// Offsets of the chunks that hold no frame.
    free: Vec<u64>,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").field("fd", &self.fd).finish_non_exhaustive()
    }
}

impl Sender {
    /// Opens a socket on the link of this number. It takes `CAP_NET_RAW`, and locked memory of 2 MiB.
    pub(crate) fn open(link: u32) -> io::Result<Self> {
        // SAFETY: a system call without pointers.
        let fd = check(unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) })?;
        // SAFETY: the descriptor is new, and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        let chunks = Mapping::new(None, 0, CHUNK * CHUNKS as usize)?;
        register(fd.as_fd(), &chunks)?;
        // The kernel wants a ring for empty chunks even of a socket that does not receive.
        for ring in [libc::XDP_UMEM_FILL_RING, libc::XDP_UMEM_COMPLETION_RING, libc::XDP_TX_RING] {
            option::set(fd.as_fd(), libc::SOL_XDP, ring, CHUNKS as i32)?;
        }
        let offsets = offsets(fd.as_fd())?;
        let frames = Ring::map(fd.as_fd(), libc::XDP_PGOFF_TX_RING, &offsets.tx)?;
        let done = Ring::map(fd.as_fd(), libc::XDP_UMEM_PGOFF_COMPLETION_RING as i64, &offsets.cr)?;
        bind(fd.as_fd(), link)?;
        let free = (0..u64::from(CHUNKS)).map(|at| at * CHUNK as u64).collect();
        Ok(Self { fd, frames, done, chunks, free })
    }

    /// Takes frames from `places` of the arena as long as there is room, and returns how many. A frame that is longer than
    /// [`CHUNK`] is the end of it.
    pub(crate) fn take(&mut self, arena: &[u8], places: impl Iterator<Item = Range<usize>>) -> usize {
        self.reap();
        let start = self.frames.producer().load(Ordering::Relaxed);
        let mut number = start;
        for place in places {
            let Some(frame) = arena.get(place).filter(|frame| frame.len() <= CHUNK) else { break };
            // There are as many chunks as places: a chunk is free only if the kernel has read its place.
            let Some(chunk) = self.free.pop() else { break };
            // SAFETY: the chunk lies within the mapping, is as long as CHUNK, and the kernel does not look at it: it is free.
            unsafe {
                let to = self.chunks.base.add(chunk as usize);
                to.copy_from_nonoverlapping(NonNull::from(frame).cast(), frame.len());
            }
            let described = libc::xdp_desc { addr: chunk, len: frame.len() as u32, options: 0 };
            // SAFETY: the place is ours until the producer's index passes it.
            unsafe { self.frames.entry(number).write(described) };
            number = number.wrapping_add(1);
        }
        self.frames.producer().store(number, Ordering::Release);
        number.wrapping_sub(start) as usize
    }

    /// Has the kernel send all that was taken.
    ///
    /// # Errors
    /// `WouldBlock` if the driver has no room for the rest; otherwise what is wrong with the link. What is left is sent by a
    /// later call.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let wanted = self.frames.producer().load(Ordering::Relaxed);
        let sent = |ring: &Ring<_>| ring.consumer().load(Ordering::Acquire);
        let mut before = sent(&self.frames);
        while before != wanted {
            let (fd, flags) = (self.fd.as_raw_fd(), libc::MSG_DONTWAIT);
            // SAFETY: there is no message, and so no pointer that is followed.
            let result = check(unsafe { libc::sendto(fd, std::ptr::null(), 0, flags, std::ptr::null(), 0) });
            let now = sent(&self.frames);
            match result.map_err(|error| (error.raw_os_error(), error)) {
                // One call sends some 32 frames, and says so by EAGAIN.
                Ok(_) | Err((Some(libc::EAGAIN | libc::EBUSY | libc::ENOBUFS), _)) if now != before => {}
                Ok(_) | Err((Some(libc::EAGAIN | libc::EBUSY | libc::ENOBUFS), _)) => {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Err((_, error)) => return Err(error),
            }
            before = now;
        }
        Ok(())
    }

    /// Takes back the chunks whose frames are gone.
    fn reap(&mut self) {
        let (from, to) =
            (self.done.consumer().load(Ordering::Relaxed), self.done.producer().load(Ordering::Acquire));
        for at in 0..to.wrapping_sub(from).min(CHUNKS) {
            // SAFETY: the kernel has written this place, and leaves it alone until the consumer's index passes it.
            let chunk = unsafe { self.done.entry(from.wrapping_add(at)).read() };
            if self.free.len() < CHUNKS as usize && chunk < (CHUNK * CHUNKS as usize) as u64 {
                self.free.push(chunk - chunk % CHUNK as u64);
            }
        }
        self.done.consumer().store(to, Ordering::Release);
    }
}

/// Shares memory with the kernel, in chunks.
fn register(fd: BorrowedFd<'_>, chunks: &Mapping) -> io::Result<()> {
    let request = libc::xdp_umem_reg {
        addr: chunks.base.as_ptr() as u64,
        len: chunks.len as u64,
        chunk_size: CHUNK as u32,
        headroom: 0,
        flags: 0,
        tx_metadata_len: 0,
    };
    let size = size_of::<libc::xdp_umem_reg>() as u32;
    let value = (&raw const request).cast();
    // SAFETY: the pointer is to a live xdp_umem_reg of this size. The kernel holds on to the memory that it names.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), libc::SOL_XDP, libc::XDP_UMEM_REG, value, size) })
        .map(drop)
}

/// Where the rings' parts lie in their mappings.
fn offsets(fd: BorrowedFd<'_>) -> io::Result<libc::xdp_mmap_offsets> {
    // SAFETY: xdp_mmap_offsets is plain data for which all zeros is a valid value.
    let mut offsets: libc::xdp_mmap_offsets = unsafe { std::mem::zeroed() };
    let mut size = size_of::<libc::xdp_mmap_offsets>() as u32;
    let value = (&raw mut offsets).cast();
    // SAFETY: the pointer is to a live xdp_mmap_offsets, and the kernel writes no more than the size of one.
    check(unsafe {
        libc::getsockopt(fd.as_raw_fd(), libc::SOL_XDP, libc::XDP_MMAP_OFFSETS, value, &raw mut size)
    })?;
    Ok(offsets)
}

/// Begins to send on a link, by its first queue. The kernel copies, which works with every driver.
fn bind(fd: BorrowedFd<'_>, link: u32) -> io::Result<()> {
    // SAFETY: sockaddr_xdp is plain data for which all zeros is a valid value.
    let mut address: libc::sockaddr_xdp = unsafe { std::mem::zeroed() };
    address.sxdp_family = libc::AF_XDP as u16;
    address.sxdp_flags = libc::XDP_COPY;
    address.sxdp_ifindex = link;
    let size = size_of::<libc::sockaddr_xdp>() as u32;
    // SAFETY: the pointer is to a live sockaddr_xdp of this size, which the kernel only reads.
    check(unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), size) }).map(drop)
}
