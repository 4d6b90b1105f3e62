//! WIT shell of allocator-linear.

gpumm_strategy_shell::strategy_shell!(gpumm_allocator_linear::Linear);
