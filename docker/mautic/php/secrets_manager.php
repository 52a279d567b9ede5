<?php

declare(strict_types=1);

/** A secret could not be had; the code is an exit status of database.php. */
final class SecretError extends RuntimeException
{
    public const FAILED = 75;
    public const DENIED = 77;
    public const WRONG_SETTING = 78;
}

/**
 * Reads one secret of AWS Secrets Manager with the pod's own identity (EKS Pod Identity).
 *
 * The agent on the node gives short-lived credentials to whoever shows the token that EKS mounts
 * into the pod: AWS_CONTAINER_CREDENTIALS_FULL_URI and AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE, set by
 * EKS itself (https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html).
 * The request is signed by Signature Version 4. AWS_ENDPOINT_URL_SECRETS_MANAGER or AWS_ENDPOINT_URL
 * replace the service's own address.
 */
final class SecretsManager
{
    /** Where credentials may be fetched without TLS: this machine, and the agents of ECS and EKS. */
    private const PLAIN_HOSTS = ['localhost', '127.0.0.1', '[::1]', '169.254.170.2', '169.254.170.23', '[fd00:ec2::23]'];
    private const ATTEMPTS = 5;
    private const TIMEOUT_SECONDS = 10;
    private const TARGET = 'secretsmanager.GetSecretValue';
    private const TYPE = 'application/x-amz-json-1.1';

    /**
     * @return array<string, mixed> what the secret's JSON says
     */
    public static function read(string $arn): array
    {
        $parts = explode(':', $arn, 7);
        if (7 !== count($parts) || 'secretsmanager' !== $parts[2]) {
            throw new SecretError("{$arn} is not the ARN of a secret", SecretError::WRONG_SETTING);
        }
        [, $partition, , $region] = $parts;
        $domain = 'aws-cn' === $partition ? 'amazonaws.com.cn' : 'amazonaws.com';
        $endpoint = getenv('AWS_ENDPOINT_URL_SECRETS_MANAGER') ?: getenv('AWS_ENDPOINT_URL') ?: "https://secretsmanager.{$region}.{$domain}";
        $body = json_encode(['SecretId' => $arn], JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES);
        $headers = self::signed(self::credentials(), $region, $endpoint, $body);
        $answer = self::ask("{$endpoint}/", $headers, $body, "the secret {$arn}");
        $secret = json_decode($answer['SecretString'] ?? '', true);
        if (!is_array($secret)) {
            throw new SecretError("the secret {$arn} holds no JSON", SecretError::WRONG_SETTING);
        }

        return $secret;
    }

    /**
     * @return array<string, mixed>
     */
    private static function credentials(): array
    {
        $uri = (string) getenv('AWS_CONTAINER_CREDENTIALS_FULL_URI');
        $file = (string) getenv('AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE');
        if ('' === $uri || '' === $file) {
            throw new SecretError('this pod has no identity: EKS gives it one where its service account has a Pod Identity association', SecretError::DENIED);
        }
        $address = parse_url($uri) ?: [];
        $host = $address['host'] ?? '';
        if ('https' !== ($address['scheme'] ?? '') && !in_array($host, self::PLAIN_HOSTS, true)) {
            throw new SecretError("credentials are not fetched from {$host} without TLS", SecretError::WRONG_SETTING);
        }
        $token = @file_get_contents($file);
        if (false === $token) {
            throw new SecretError("{$file} cannot be read", SecretError::WRONG_SETTING);
        }
        $found = self::ask($uri, ['Authorization: '.trim($token)], null, 'the pod\'s credentials');
        foreach (['AccessKeyId', 'SecretAccessKey', 'Token'] as $key) {
            if ('' === (string) ($found[$key] ?? '')) {
                throw new SecretError("the pod's credentials lack {$key}", SecretError::FAILED);
            }
        }

        return $found;
    }

    /**
     * https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
     *
     * @param array<string, mixed> $credentials
     *
     * @return list<string>
     */
    private static function signed(array $credentials, string $region, string $endpoint, string $body): array
    {
        $time = gmdate('Ymd\THis\Z');
        $day = substr($time, 0, 8);
        $address = parse_url($endpoint) ?: [];
        $headers = [
            'content-type' => self::TYPE,
            'host' => ($address['host'] ?? '').(isset($address['port']) ? ":{$address['port']}" : ''),
            'x-amz-date' => $time,
            'x-amz-security-token' => $credentials['Token'],
            'x-amz-target' => self::TARGET,
        ];
        $names = implode(';', array_keys($headers));
        $lines = '';
        foreach ($headers as $name => $value) {
            $lines .= "{$name}:{$value}\n";
        }
        $request = "POST\n/\n\n{$lines}\n{$names}\n".hash('sha256', $body);
        $scope = "{$day}/{$region}/secretsmanager/aws4_request";
        $text = "AWS4-HMAC-SHA256\n{$time}\n{$scope}\n".hash('sha256', $request);
        $key = "AWS4{$credentials['SecretAccessKey']}";
        foreach ([$day, $region, 'secretsmanager', 'aws4_request'] as $part) {
            $key = hash_hmac('sha256', $part, $key, true);
        }
        $signature = hash_hmac('sha256', $text, $key);
        $sent = ["Authorization: AWS4-HMAC-SHA256 Credential={$credentials['AccessKeyId']}/{$scope}, SignedHeaders={$names}, Signature={$signature}"];
        foreach ($headers as $name => $value) {
            $sent[] = "{$name}: {$value}";
        }

        return $sent;
    }

    /**
     * @param list<string> $headers
     *
     * @return array<string, mixed>
     */
    private static function ask(string $url, array $headers, ?string $body, string $what): array
    {
        for ($attempt = 1; ; ++$attempt) {
            $request = curl_init($url);
            curl_setopt_array($request, [
                CURLOPT_HTTPHEADER => $headers,
                CURLOPT_RETURNTRANSFER => true,
                CURLOPT_TIMEOUT => self::TIMEOUT_SECONDS,
                CURLOPT_PROTOCOLS => CURLPROTO_HTTP | CURLPROTO_HTTPS,
                CURLOPT_NOPROXY => '169.254.170.2,169.254.170.23,fd00:ec2::23,localhost,127.0.0.1',
            ] + (null === $body ? [] : [CURLOPT_POSTFIELDS => $body]));
            $said = curl_exec($request);
            $status = curl_getinfo($request, CURLINFO_RESPONSE_CODE);
            $answer = is_string($said) ? json_decode($said, true) : null;
            if (200 === $status && is_array($answer)) {
                return $answer;
            }
            $why = self::why($status, $said, $answer, curl_error($request));
            $passing = 0 === $status || 429 === $status || $status >= 500 || str_contains($why, 'Throttling');
            if (!$passing || $attempt >= self::ATTEMPTS) {
                $code = $passing ? SecretError::FAILED : (in_array($status, [400, 401, 403, 404], true) ? SecretError::DENIED : SecretError::FAILED);
                throw new SecretError("{$what} cannot be read: {$why}", $code);
            }
            sleep(2 ** ($attempt - 1));
        }
    }

    private static function why(int $status, string|false $said, mixed $answer, string $error): string
    {
        if (0 === $status) {
            return $error;
        }
        if (is_array($answer)) {
            $type = $answer['__type'] ?? $answer['Code'] ?? '';

            return trim("{$status} {$type} ".($answer['message'] ?? $answer['Message'] ?? ''));
        }

        // Of a success nothing is shown: it might be the secret.
        return $status >= 400 ? trim("{$status} ".substr(strip_tags((string) $said), 0, 300)) : (string) $status;
    }
}
