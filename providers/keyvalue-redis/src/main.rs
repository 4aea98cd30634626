fn main() -> std::process::ExitCode {
    lattice_provider::main::<lattice_provider_keyvalue_redis::Redis>()
}
