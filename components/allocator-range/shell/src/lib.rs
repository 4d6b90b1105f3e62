//! WIT shell of allocator-range.

gpumm_strategy_shell::strategy_shell!(gpumm_allocator_range::RangeManager);
