fn main() -> std::process::ExitCode {
    lattice_provider::main::<ledger_provider::Ledger>()
}
