<?php

return [
    'CREATE TABLE IF NOT EXISTS {page_hits} (
        id INT AUTO_INCREMENT PRIMARY KEY,
        url LONGTEXT NOT NULL,
        date_hit DATETIME NOT NULL
    ) CHARACTER SET utf8mb4',
];
