# Proposed by Pare for arn:aws:iam::111122223333:role/service-role/checkout-api
# Verdict: ready. This policy keeps everything that was used and can be applied.
# Replay: 84,724 of 84,724 observed calls are still allowed.
# New access: none: everything the proposal grants is granted today (proved).
# Read: 2026-08-24 to 2026-11-21 (90 days), 25,920 log files (18.1 MB), 0 days without records,
# data events: dynamodb.amazonaws.com, lambda.amazonaws.com.
# Apply this beside what is attached today, then detach that: until then nothing is narrowed.

variable "role_checkout-api_name" {
  description = "Name of the IAM role that gets the policies."
  type        = string
  default     = "checkout-api"
}

resource "aws_iam_policy" "role_checkout-api_1" {
  name        = "pare-role-checkout-api-1"
  description = "What this role was seen to need (Pare)."
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      # observed: 62,443 calls, last on 2026-11-21
      {
        Sid    = "DynamodbObserved1"
        Effect = "Allow"
        Action = ["dynamodb:GetItem"]
        Resource = [
          "arn:aws:dynamodb:eu-west-1:111122223333:table/orders",
          "arn:aws:dynamodb:eu-west-1:111122223333:table/prices",
        ]
      },
      # observed: 11,875 calls, last on 2026-11-21
      {
        Sid      = "DynamodbObserved2"
        Effect   = "Allow"
        Action   = ["dynamodb:PutItem"]
        Resource = ["arn:aws:dynamodb:eu-west-1:111122223333:table/orders"]
      },
      # observed: 9,120 calls, last on 2026-11-21
      {
        Sid      = "DynamodbObserved3"
        Effect   = "Allow"
        Action   = ["dynamodb:Query"]
        Resource = ["arn:aws:dynamodb:eu-west-1:111122223333:table/orders/index/by-customer"]
      },
      # observed: 310 calls, last on 2026-11-21
      {
        Sid      = "KmsObserved1"
        Effect   = "Allow"
        Action   = ["kms:Decrypt"]
        Resource = ["arn:aws:kms:eu-west-1:111122223333:key/8c1f9a52-6a0e-4a0b-9d7e-2f5b8f3d0c11"]
      },
      # observed: 880 calls, last on 2026-11-21
      {
        Sid      = "LogsObserved1"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream"]
        Resource = ["arn:aws:logs:eu-west-1:111122223333:log-group:/aws/lambda/checkout-api:*"]
      },
      # observed: 96 calls, last on 2026-11-21
      {
        Sid      = "SecretsmanagerObserved1"
        Effect   = "Allow"
        Action   = ["secretsmanager:GetSecretValue"]
        Resource = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:checkout/stripe-Ab12Cd"]
      },
      # kept: not observable: last accessed on 2026-11-21
      {
        Sid    = "KeptNotObservable1"
        Effect = "Allow"
        Action = [
          "dynamodb:AssociateTableReplica",
          "dynamodb:CreateGlobalTableWitness",
          "dynamodb:CreateTableReplica",
          "dynamodb:DeleteGlobalTableWitness",
          "dynamodb:DeleteTableReplica",
          "dynamodb:DescribeReservedCapacity",
          "dynamodb:DescribeReservedCapacityOfferings",
          "dynamodb:GetAbacStatus",
          "dynamodb:InjectError",
          "dynamodb:PurchaseReservedCapacityOfferings",
          "dynamodb:ReadDataForReplication",
          "dynamodb:ReplicateSettings",
          "dynamodb:RestoreTableFromAwsBackup",
          "dynamodb:StartAwsBackupJob",
          "dynamodb:UpdateAbacStatus",
          "dynamodb:UpdateGlobalTableVersion",
          "dynamodb:WriteDataForReplication",
        ]
        Resource = [
          "arn:aws:dynamodb:eu-west-1:111122223333:table/carts",
          "arn:aws:dynamodb:eu-west-1:111122223333:table/orders",
          "arn:aws:dynamodb:eu-west-1:111122223333:table/orders/*",
          "arn:aws:dynamodb:eu-west-1:111122223333:table/prices",
        ]
      },
      # kept: not observable: last accessed on 2026-11-21
      {
        Sid      = "KeptNotObservable2"
        Effect   = "Allow"
        Action   = ["logs:PutLogEvents"]
        Resource = ["*"]
      },
    ]
  })
}

resource "aws_iam_role_policy_attachment" "role_checkout-api_1" {
  role       = var.role_checkout-api_name
  policy_arn = aws_iam_policy.role_checkout-api_1.arn
}
