<?php

return [
    'CREATE TABLE IF NOT EXISTS {users} (
        id INT AUTO_INCREMENT PRIMARY KEY,
        is_published TINYINT(1) NOT NULL DEFAULT 1,
        username VARCHAR(191) NOT NULL UNIQUE,
        password VARCHAR(255) NOT NULL,
        email VARCHAR(191) NOT NULL UNIQUE,
        date_added DATETIME NOT NULL
    ) CHARACTER SET utf8mb4',
    'CREATE TABLE IF NOT EXISTS {plugins} (bundle VARCHAR(191) PRIMARY KEY) CHARACTER SET utf8mb4',
    'CREATE TABLE IF NOT EXISTS {standin_counters} (name VARCHAR(191) PRIMARY KEY, value BIGINT NOT NULL) CHARACTER SET utf8mb4',
];
