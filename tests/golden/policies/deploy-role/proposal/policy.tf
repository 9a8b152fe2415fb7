# Proposed by Pare for arn:aws:iam::111122223333:role/ci/github-deploy
# Verdict: ready. This policy keeps everything that was used and can be applied.
# Replay: 2,775 of 2,775 observed calls are still allowed.
# New access: none: everything the proposal grants is granted today (proved).
# Read: 2026-08-24 to 2026-11-21 (90 days), 25,920 log files (856.2 KB), 0 days without records,
# data events: none recorded.
# Apply this beside what is attached today, then detach that: until then nothing is narrowed.

variable "role_github-deploy_name" {
  description = "Name of the IAM role that gets the policies."
  type        = string
  default     = "github-deploy"
}

resource "aws_iam_policy" "role_github-deploy_1" {
  name        = "pare-role-github-deploy-1"
  description = "What this role was seen to need (Pare)."
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      # observed: 210 calls, last on 2026-11-21
      {
        Sid      = "CloudformationObserved1"
        Effect   = "Allow"
        Action   = ["cloudformation:DescribeStacks"]
        Resource = ["arn:aws:cloudformation:eu-west-1:111122223333:stack/shop-network/5f0c2a10-8d6e-11f0-a1b2-0a58a9feac02"]
      },
      # observed: 304 calls, last on 2026-11-21
      {
        Sid    = "EcrObserved1"
        Effect = "Allow"
        Action = [
          "ecr:CompleteLayerUpload",
          "ecr:InitiateLayerUpload",
          "ecr:PutImage",
        ]
        Resource = ["arn:aws:ecr:eu-west-1:111122223333:repository/storefront"]
      },
      # observed: 924 calls, last on 2026-11-21
      {
        Sid    = "EcsObserved1"
        Effect = "Allow"
        Action = [
          "ecs:DescribeServices",
          "ecs:UpdateService",
        ]
        Resource = ["arn:aws:ecs:eu-west-1:111122223333:service/shop/storefront"]
      },
      # observed: 1 call, last on 2026-09-23
      {
        Sid      = "LambdaObserved1"
        Effect   = "Allow"
        Action   = ["lambda:CreateFunction"]
        Resource = ["arn:aws:lambda:eu-west-1:111122223333:function:checkout-email"]
      },
      # observed: 903 calls, last on 2026-11-21
      {
        Sid    = "LambdaObserved2"
        Effect = "Allow"
        Action = [
          "lambda:GetFunction",
          "lambda:UpdateFunctionCode",
        ]
        Resource = [
          "arn:aws:lambda:eu-west-1:111122223333:function:checkout-api",
          "arn:aws:lambda:eu-west-1:111122223333:function:checkout-email",
          "arn:aws:lambda:eu-west-1:111122223333:function:checkout-worker",
        ]
      },
      # observed: 344 calls, last on 2026-11-21
      {
        Sid    = "Observed1"
        Effect = "Allow"
        Action = [
          "ecr:GetAuthorizationToken",
          "ecs:RegisterTaskDefinition",
        ]
        Resource = ["*"]
      },
      # observed: 1 call, last on 2026-09-23
      {
        Sid      = "PassRole1"
        Effect   = "Allow"
        Action   = ["iam:PassRole"]
        Resource = ["arn:aws:iam::111122223333:role/service-role/checkout-email"]
        Condition = {
          StringEquals = {
            "iam:PassedToService" = ["lambda.amazonaws.com"]
          }
        }
      },
      # observed: 88 calls, last on 2026-11-21
      {
        Sid    = "PassRole2"
        Effect = "Allow"
        Action = ["iam:PassRole"]
        Resource = [
          "arn:aws:iam::111122223333:role/storefront-execution",
          "arn:aws:iam::111122223333:role/storefront-task",
        ]
        Condition = {
          StringEquals = {
            "iam:PassedToService" = ["ecs-tasks.amazonaws.com"]
          }
        }
      },
      # kept: not observable
      {
        Sid    = "KeptNotObservable1"
        Effect = "Allow"
        Action = [
          "cloudformation:CreateUploadBucket",
          "cloudformation:ListAllHookResults",
          "cloudformation:TagResource",
          "cloudformation:UntagResource",
          "ec2:AssociateVerifiedAccessInstanceWebAcl",
          "ec2:AttachApplianceToNatGateway",
          "ec2:AttachResourcesToPlacementGroup",
          "ec2:CreateCoipPoolPermission",
          "ec2:CreateLocalGatewayRouteTablePermission",
          "ec2:CreateOdbNetworkPeering",
          "ec2:DeleteCoipPoolPermission",
          "ec2:DeleteLocalGatewayRouteTablePermission",
          "ec2:DeleteOdbNetworkPeering",
          "ec2:DeleteResourcePolicy",
          "ec2:DescribeLocalGatewayRouteTablePermissions",
          "ec2:DescribeVerifiedAccessInstanceWebAclAssociations",
          "ec2:DetachApplianceFromNatGateway",
          "ec2:DetachResourcesFromPlacementGroup",
          "ec2:DisassociateVerifiedAccessInstanceWebAcl",
          "ec2:GetResourcePolicy",
          "ec2:GetVerifiedAccessInstanceWebAcl",
          "ec2:ImportByoipCidrToIpam",
          "ec2:InjectApiError",
          "ec2:InjectVolumeIOLatency",
          "ec2:ModifyOdbNetworkPeering",
          "ec2:PauseVolumeIO",
          "ec2:PutResourcePolicy",
          "ec2:SendSpotInstanceInterruptions",
          "ecr:BatchImportUpstreamImage",
          "ecr:GetImageCopyStatus",
          "ecr:ReplicateImage",
          "ecs:AllowVendedLogDeliveryForResource",
          "ecs:Poll",
          "ecs:PutSystemLogEvents",
          "ecs:StartTelemetrySession",
          "lambda:CheckpointDurableExecution",
          "lambda:ConnectMicrovm",
          "lambda:CreateMicrovmAuthToken",
          "lambda:CreateMicrovmImage",
          "lambda:CreateMicrovmShellAuthToken",
          "lambda:DeleteMicrovmImage",
          "lambda:DeleteMicrovmImageVersion",
          "lambda:DisableReplication",
          "lambda:EnableReplication",
          "lambda:GetDurableExecution",
          "lambda:GetDurableExecutionHistory",
          "lambda:GetDurableExecutionState",
          "lambda:GetMicrovm",
          "lambda:GetMicrovmImage",
          "lambda:GetMicrovmImageBuild",
          "lambda:GetMicrovmImageVersion",
          "lambda:InvokeAsync",
          "lambda:InvokeFunction",
          "lambda:InvokeFunctionUrl",
          "lambda:ListDurableExecutionsByFunction",
          "lambda:ListManagedMicrovmImageVersions",
          "lambda:ListManagedMicrovmImages",
          "lambda:ListMicrovmImageBuilds",
          "lambda:ListMicrovmImageVersions",
          "lambda:ListMicrovmImages",
          "lambda:ListMicrovms",
          "lambda:PassCapacityProvider",
          "lambda:PassNetworkConnector",
          "lambda:ResumeMicrovm",
          "lambda:RunMicrovm",
          "lambda:SendDurableExecutionCallbackFailure",
          "lambda:SendDurableExecutionCallbackHeartbeat",
          "lambda:SendDurableExecutionCallbackSuccess",
          "lambda:StopDurableExecution",
          "lambda:SuspendMicrovm",
          "lambda:TerminateMicrovm",
          "lambda:UpdateFunctionCodeSigningConfig",
          "lambda:UpdateMicrovmImage",
          "lambda:UpdateMicrovmImageVersion",
        ]
        Resource = ["*"]
      },
    ]
  })
}

resource "aws_iam_role_policy_attachment" "role_github-deploy_1" {
  role       = var.role_github-deploy_name
  policy_arn = aws_iam_policy.role_github-deploy_1.arn
}
