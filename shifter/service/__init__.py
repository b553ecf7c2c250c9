"""Everything that happens in time: reading files, observing, acting, waking, telling. Decisions are in `core`."""
