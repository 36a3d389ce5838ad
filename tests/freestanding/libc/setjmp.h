/* Suites include it for cmocka's sake; nothing jumps here. */
