//! `sparsec`: the command. Flags, terminal and exit codes; everything else is in the library packages.

mod command;
mod exit;
mod progress;
mod terminal;

use clap::Parser;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    exit::watch_for_interrupts();
    match command::run(&command::Arguments::parse()) {
        Ok(exit) => exit.into(),
        Err(fault) => {
            terminal::print_fault(&fault);
            exit::Exit::of(&fault).into()
        }
    }
}
