//! `sparsec`: the command. Flags, terminal and exit codes; everything else is in the library packages.

// A command has no outside: `pub` means "to the other files of this folder".
#![allow(unreachable_pub)]

#[macro_use]
mod terminal;
mod command;
mod exit;
mod progress;

use clap::Parser;
use sparsec_runtime::{memory, threads};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: memory::Allocator = memory::Allocator;

fn main() -> ExitCode {
    let arguments = command::Arguments::parse();
    let done = threads::run(arguments.threads, || {
        exit::watch_for_interrupts();
        command::run(&arguments)
    });
    match done.and_then(|done| done).and_then(|exit| terminal::lost().map_or(Ok(exit), Err)) {
        Ok(exit) => exit.into(),
        Err(fault) => {
            terminal::print_fault(&fault);
            exit::Exit::of(&fault).into()
        }
    }
}
