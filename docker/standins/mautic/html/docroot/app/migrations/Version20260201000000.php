<?php

// The table of Symfony's doctrine transport.
return [
    'CREATE TABLE IF NOT EXISTS {messenger_messages} (
        id BIGINT AUTO_INCREMENT PRIMARY KEY,
        body LONGTEXT NOT NULL,
        headers LONGTEXT NOT NULL,
        queue_name VARCHAR(190) NOT NULL,
        created_at DATETIME NOT NULL,
        available_at DATETIME NOT NULL,
        delivered_at DATETIME NULL,
        KEY queue (queue_name, available_at, delivered_at)
    ) CHARACTER SET utf8mb4',
];
