//! A machine on which something is wrong: a library for `LD_PRELOAD` that stands between a program and the C library.
//!
//! - `LATTICE_FAULT_CLOCK`: seconds by which the clock is ahead, or behind when it is negative. Only what time it is; what measures time
//!   goes on as it does.
//! - `LATTICE_FAULT_DISK`: a folder. What is written to files below it fails for want of space while there is a file `full` beside it (the
//!   folder's name with `.full`), and each write that must reach the disk takes five seconds while there is one with `.slow`.
//!
//! It makes system calls itself, and does nothing that could allocate or lock: anything may be under way in the program.

#![allow(unsafe_code, reason = "it takes the place of functions of the C library")]

use std::{
    ffi::{CStr, c_char, c_int, c_long, c_void},
    sync::OnceLock,
};

use libc::{
    CLOCK_REALTIME, ENOSPC, PATH_MAX, SYS_clock_gettime, SYS_fdatasync, SYS_fsync, SYS_pwrite64, SYS_write, SYS_writev,
    clockid_t, iovec, off_t, size_t, ssize_t, timespec,
};

/// How long a slow disk takes.
const SLOW: timespec = timespec { tv_sec: 5, tv_nsec: 0 };
/// Room for a path.
const ROOM: usize = PATH_MAX as usize;

/// What the environment says; read once, as reading it is not safe while the program changes it.
struct Settings {
    clock: i64,
    /// The folder, without a zero at its end.
    disk: Option<&'static [u8]>,
}

fn settings() -> &'static Settings {
    static SETTINGS: OnceLock<Settings> = OnceLock::new();
    SETTINGS.get_or_init(|| {
        // SAFETY: the first call comes from the start of the program, and what `getenv` gives stays as long as nobody changes it.
        let variable = |name: &CStr| unsafe {
            let value = libc::getenv(name.as_ptr());
            if value.is_null() { None } else { Some(CStr::from_ptr(value)) }
        };
        let clock = variable(c"LATTICE_FAULT_CLOCK").and_then(|text| text.to_str().ok()?.parse().ok());
        Settings { clock: clock.unwrap_or(0), disk: variable(c"LATTICE_FAULT_DISK").map(CStr::to_bytes) }
    })
}

/// Whether there is a file beside the folder, which says that this is wrong with it now.
fn is_said(folder: &[u8], ending: &[u8]) -> bool {
    let mut path = [0u8; ROOM];
    if folder.len() + ending.len() >= ROOM {
        return false;
    }
    path[..folder.len()].copy_from_slice(folder);
    path[folder.len()..folder.len() + ending.len()].copy_from_slice(ending);
    // SAFETY: the path ends with a zero.
    unsafe { libc::access(path.as_ptr().cast::<c_char>(), libc::F_OK) == 0 }
}

/// The folder, when an open file lies in it.
fn folder_of(file: c_int) -> Option<&'static [u8]> {
    let folder = settings().disk?;
    let mut link = [0u8; 32];
    let name = b"/proc/self/fd/";
    link[..name.len()].copy_from_slice(name);
    let mut digits = [0u8; 10];
    let (mut left, mut at) = (u32::try_from(file).ok()?, digits.len());
    while left > 0 || at == digits.len() {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
    }
    link[name.len()..name.len() + digits.len() - at].copy_from_slice(&digits[at..]);
    let mut path = [0u8; ROOM];
    // SAFETY: the link ends with a zero, and the path has so much room.
    let length = unsafe { libc::readlink(link.as_ptr().cast(), path.as_mut_ptr().cast(), ROOM) };
    let path = &path[..usize::try_from(length).ok()?];
    (path.starts_with(folder) && path.get(folder.len()) == Some(&b'/')).then_some(folder)
}

/// The answer to a write to `file`, when there is no space for it.
fn full(file: c_int) -> Option<ssize_t> {
    folder_of(file).filter(|folder| is_said(folder, b".full")).map(|_| {
        // SAFETY: it is the calling thread's own.
        unsafe { *libc::__errno_location() = ENOSPC };
        -1
    })
}

fn wait_for_disk(file: c_int) {
    if folder_of(file).is_some_and(|folder| is_said(folder, b".slow")) {
        // SAFETY: it reads the time and writes nothing back.
        unsafe { libc::nanosleep(&SLOW, std::ptr::null_mut()) };
    }
}

/// # Safety
/// As of the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(file: c_int, bytes: *const c_void, count: size_t) -> ssize_t {
    // SAFETY: the caller's.
    full(file).unwrap_or_else(|| unsafe { libc::syscall(SYS_write, file, bytes, count) } as ssize_t)
}

/// # Safety
/// As of the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn writev(file: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    // SAFETY: the caller's.
    full(file).unwrap_or_else(|| unsafe { libc::syscall(SYS_writev, file, parts, count) } as ssize_t)
}

/// # Safety
/// As of the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite64(file: c_int, bytes: *const c_void, count: size_t, at: off_t) -> ssize_t {
    // SAFETY: the caller's.
    full(file).unwrap_or_else(|| unsafe { libc::syscall(SYS_pwrite64, file, bytes, count, at) } as ssize_t)
}

/// # Safety
/// As of the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fsync(file: c_int) -> c_int {
    wait_for_disk(file);
    // SAFETY: the caller's.
    unsafe { libc::syscall(SYS_fsync, file) as c_int }
}

/// # Safety
/// As of the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fdatasync(file: c_int) -> c_int {
    wait_for_disk(file);
    // SAFETY: the caller's.
    unsafe { libc::syscall(SYS_fdatasync, file) as c_int }
}

/// # Safety
/// As of the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
    // SAFETY: the caller's.
    let told: c_long = unsafe { libc::syscall(SYS_clock_gettime, clock, time) };
    if told == 0 && clock == CLOCK_REALTIME && !time.is_null() {
        // SAFETY: the kernel has just written there.
        unsafe { (*time).tv_sec += settings().clock };
    }
    told as c_int
}
