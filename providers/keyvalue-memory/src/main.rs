fn main() -> std::process::ExitCode {
    lattice_provider::main::<lattice_provider_keyvalue_memory::Memory>()
}
